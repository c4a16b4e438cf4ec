"""What MLflow shows as text: names of runs, parameters as strings, descriptions. Pure functions, no mlflow."""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from raysearch.race.verdict import best_of
from raysearch.records import Configuration, InstanceKey, Phase, Summary, Verdict

LONGEST_VALUE = 6000
"""MLflow's limit on a parameter's value."""
LONGEST_KEY = 250
"""MLflow's limit on the name of a parameter, a metric or a tag."""
LONGEST_NAME = 80
ORIGINAL = "raysearch.name."
"""Prefix of the tag that keeps the name of a parameter or metric that MLflow would not take as it is."""


def value_text(value: Any) -> str:
    """Return a parameter's value as it reads in the experiment file, e.g. `0.001`, `true`, `[3, 3]`."""
    if isinstance(value, str):
        return value[:LONGEST_VALUE]
    if isinstance(value, float):
        return f"{value:.12g}"
    return json.dumps(value, default=str)[:LONGEST_VALUE]


def fitted(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return by each of `names` the one that MLflow takes for it: itself where it can be.

    Other characters become `_`, long names are cut, and names that would be equal, or that are `taken`, are numbered.
    """
    given = list(dict.fromkeys(names))
    taken = set(taken)
    found = {name: name for name in given if name not in taken and _as_mlflow_takes_it(name) == name}
    for name in given:
        if name not in found:
            short, number = _as_mlflow_takes_it(name), 2
            fit = short
            while fit in taken or fit in found.values():
                fit, number = f"{short[: LONGEST_KEY - len(ORIGINAL) - 8]}_{number}", number + 1
            found[name] = fit
    return found


def renamed(fits: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that keep the names of what `fitted` had to change."""
    return {ORIGINAL + fit: name[:5000] for name, fit in fits.items() if fit != name}


def _as_mlflow_takes_it(name: str) -> str:
    fit = re.sub(r"[^\w\-. /]", "_", name)[:LONGEST_KEY] or "_"
    # MLflow refuses what would be another path if it were a file's: `a//b`, `../a`, `/a`
    plain = posixpath.normpath(fit) == fit and not fit.startswith(("/", "..")) and fit != "."
    fit = fit if plain else fit.replace("/", "_").replace(".", "_")
    return fit if fit == name else fit[: LONGEST_KEY - len(ORIGINAL)]  # so that a tag can name it


def flat(parameters: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return nested parameters as one level of strings, `{"rule": {"name": "halving"}}` as `rule.name`."""
    values = dict(_flat(parameters, prefix))
    fits = fitted(values)
    return {fits[name]: value for name, value in values.items()}


def parameter_tags(parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that keep the names of those parameters that `flat` had to change."""
    return renamed(fitted(dict(_flat(parameters, ""))))


def _flat(parameters: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in parameters.items():
        name = prefix + str(key)
        if isinstance(value, Mapping):
            yield from _flat(value, name + ".")
        else:
            yield name, value_text(value)


def configuration_name(configuration: Configuration) -> str:
    """Return a readable run name: the first digits of the id, then as many parameters as fit."""
    words = [configuration.id[:6]]
    for key, value in flat(configuration.parameters).items():
        word = f"{key.rsplit('.', 1)[-1]}={value.replace(' ', '')}"
        if len(" ".join([*words, word])) > LONGEST_NAME:
            words.append("…")
            break
        words.append(word)
    return " ".join(words)


def instance_name(key: InstanceKey, phase: Phase) -> str:
    """Return the run name of an instance; the configuration's digits tell instances apart in a chart's legend."""
    kind = "confirm" if phase is Phase.CONFIRMATION else "seed"
    return f"{kind} {key.seed} · {key.configuration_id[:6]}"


def search_note(verdict: Verdict) -> str:
    """Return the description of the search run: the verdict in a few lines and a table."""
    saved = verdict.n_exhaustive / verdict.n_instances if verdict.n_instances else float("nan")
    lines = [
        f"**Winner** `{verdict.winner.id}`: "
        + ", ".join(f"{key} = {value}" for key, value in flat(verdict.winner.parameters).items()),
        "",
        f"{verdict.n_instances:,} instances of {verdict.n_configurations:,} configurations"
        + (f", {verdict.n_untrained:,} of them never trained" if verdict.n_untrained else "")
        + "; exhaustive search would"
        f" have trained {verdict.n_exhaustive:,} ({saved:.1f} times as many).",
        "",
        f"| losses of the winner | instances | {verdict.criterion} | median | q3 | iqr | max |",
        "|---|---|---|---|---|---|---|",
        _row("race", verdict.race),
    ]
    if verdict.confirmation is not None:
        lines.append(_row("confirmation (fresh seeds)", verdict.confirmation))
    if verdict.test_median is not None:
        lines += ["", f"Median test {verdict.of or 'loss'} of the confirmation instances: {verdict.test_median:.6g}."]
    if len(verdict.finalists) > 1:
        lines += ["", "Finalists on the same fresh seeds, the best first:", "", *_finalists(verdict)]
    lines += ["", *_certainty(verdict)]
    if verdict.pareto:
        lines += ["", "No configuration beats these in all objectives:", "", *_pareto(verdict)]
    return "\n".join([*lines, "", "Artifacts: `report.html` (plots), `instances.parquet` (one row per instance)."])


def _certainty(verdict: Verdict) -> list[str]:
    """Return how sure the rule is of the winner; nothing where it states no confidence."""
    lines = [] if not verdict.note else [f"{verdict.note}."]
    if verdict.certified is not None and verdict.probability is not None:
        within = "" if verdict.delta is None else f"within {100 * verdict.delta:.3g} % of {best_of(verdict)}"
        claim = "**Certified**" if verdict.certified else "**Not certified**"
        sure = f"{claim}: P({within}) = {_share(verdict.probability)} after {verdict.race.n_instances} instances of it."
        lines.insert(0, sure)
    others = [f"`{id_}`" for id_ in verdict.indistinguishable if id_ != verdict.winner.id]
    if others:
        lines.append(f"The rule cannot tell it apart from {', '.join(others)}.")
    return [" ".join(lines)] if lines else []


def _finalists(verdict: Verdict) -> list[str]:
    head = f"| configuration | place in the race | instances | {verdict.criterion} | 95 % interval | |"
    rows = []
    for one in verdict.finalists:
        interval = "" if one.fresh.interval is None else " to ".join(f"{end:.6g}" for end in one.fresh.interval)
        told = "told from the best" if one.separated else ""
        fresh = f"{one.fresh.n_instances} | {one.fresh.criterion:.6g} | {interval}"
        rows.append(f"| `{one.configuration_id}` | {one.place} | {fresh} | {told} |")
    return [head, "|---|---|---|---|---|---|", *rows]


def _share(probability: float) -> str:
    """Return a probability cut, not rounded, to three digits: .9996 must not read as certainty."""
    return f"{math.floor(1000 * probability + 1e-9) / 1000:.3f}" if math.isfinite(probability) else "unknown"


def _pareto(verdict: Verdict) -> list[str]:
    head = f"| configuration | instances | {' | '.join(verdict.objectives)} |"
    rows = [
        f"| `{point.configuration_id}` | {point.n_instances} | {' | '.join(f'{v:.6g}' for v in point.values)} |"
        for point in verdict.pareto
    ]
    return [head, "|---" * (2 + len(verdict.objectives)) + "|", *rows]


def _row(name: str, summary: Summary) -> str:
    values = (summary.criterion, summary.median, summary.q3, summary.iqr, summary.max)
    return f"| {name} | {summary.n_instances} | " + " | ".join(f"{value:.6g}" for value in values) + " |"


def curve_csv(curve: tuple[float, ...]) -> str:
    """Return the loss curve as CSV, which MLflow's artifact view shows as a table."""
    return "epoch,loss\n" + "".join(f"{epoch},{loss:.9g}\n" for epoch, loss in enumerate(curve, start=1))
