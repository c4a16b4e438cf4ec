"""Records as short texts for a terminal. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from raysearch.criteria.objectives import label
from raysearch.records import Configuration, InstanceResult, Phase, Progress
from raysearch.rules import Elimination


def title(search: Mapping[str, Any]) -> str:
    """Return the name, criterion and rule of a search on one line."""
    parts = (str(search.get("name") or "search"), plugin(search.get("criterion")), plugin(search.get("rule")))
    return "raysearch  " + " · ".join(part for part in parts if part)


def plugin(section: Any) -> str:
    """Return a section of an experiment in short: `q3`, `quantile(q=0.9)`; "" for none."""
    return label(section) if isinstance(section, dict) and "name" in section else str(section or "")


def named(configuration: Configuration) -> str:
    """Return a configuration's id and parameters on one line."""
    return f"{configuration.id}  " + " ".join(
        f"{name}={_short(value)}" for name, value in configuration.parameters.items()
    )


def number(value: float) -> str:
    """Return a loss with four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else ("–" if math.isnan(value) else "inf")


def duration(seconds: float) -> str:
    """Return `0:07`, `12:03`, `3:04:05` or `2d 03:04`."""
    whole = round(max(seconds, 0.0))
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24}d {hours % 24:02d}:{minute:02d}"
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def stage(progress: Progress) -> str:
    """Return where in the search a moment is."""
    return "confirmation" if progress.phase is Phase.CONFIRMATION else f"round {progress.round}"


def instances(progress: Progress) -> str:
    """Return the counts of instances."""
    expected = f"/{progress.n_expected:,}" if progress.n_expected else ""
    return f"{progress.n_finished:,}{expected} instances, {progress.n_running:,} running"


def times(progress: Progress) -> str:
    """Return elapsed and remaining time."""
    left = "" if progress.remaining_s is None else f", about {duration(progress.remaining_s)} left"
    return duration(progress.elapsed_s) + left


def incumbent(progress: Progress) -> str:
    """Return the best configuration so far and its criterion."""
    if progress.incumbent is None:
        return "none yet"
    return f"{progress.criterion or 'criterion'} {number(progress.incumbent_value)}  {named(progress.incumbent)}"


def trouble(progress: Progress) -> str:
    """Return what went wrong so far, "" if nothing."""
    counts = (
        (progress.n_diverged, "diverged"),
        (progress.n_failed, "failed"),
        (progress.n_stopped, "stopped"),
        (progress.n_retries, "tried again"),
    )
    return " · ".join(f"{n:,} {what}" for n, what in counts if n)


def behind(n_records: int) -> str:
    """Return how far a tracker is behind the race."""
    return f"{n_records:,} records behind"


def line(progress: Progress, n_behind: int | None = None) -> str:
    """Return a moment of a race on one line, for a log; `n_behind`: what another tracker has still to write."""
    parts = [
        stage(progress),
        instances(progress),
        f"{progress.n_survivors:,} survive",
        f"best {progress.criterion or 'criterion'} {number(progress.incumbent_value)}",
        times(progress),
    ]
    late = f"tracker {behind(n_behind)}" if n_behind else ""
    return " | ".join([*parts, *(part for part in (trouble(progress), late) if part)])


def wave(cuts: Sequence[Elimination[str]], n_survivors: int) -> str:
    """Return the eliminations of one look at the matrix on one line."""
    last, n_out = cuts[-1], sum(len(cut.configurations) for cut in cuts)
    n_untrained = sum(len(cut.configurations) for cut in cuts if cut.round and not cut.n_instances and not cut.reason)
    untrained = f"{n_untrained:,} of them never trained, " if n_untrained else ""
    return (
        f"round {last.round}: {n_out:,} eliminated ({untrained}cutoff {number(last.cutoff)} over"
        f" {last.n_instances} instances), {n_survivors:,} survive"
    )


def failure(result: InstanceResult) -> str:
    """Return which instance failed, and the last line of its error."""
    error = (result.error.strip().splitlines() or ["no error text"])[-1]
    tries = f" after {result.attempt} attempts" if result.attempt > 1 else ""
    return f"instance {result.key.seed} of {result.key.configuration_id} failed{tries}: {error[:200]}"


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list | tuple):
        return "-".join(_short(item) for item in value)
    return str(value)
