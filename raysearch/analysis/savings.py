"""What a race has spent, against giving every configuration as many instances as the most tried one got."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from raysearch.records import Phase, Status

_COUNTED = (Status.COMPLETE, Status.DIVERGED, Status.FAILED)


@dataclass(frozen=True)
class Step:
    """All instances number `number` (from 1) of the race: how many there were, and their machine seconds."""

    number: int
    n_instances: int
    seconds: float


@dataclass(frozen=True)
class Savings:
    """Instances and machine seconds of a race beside those of exhaustive search.

    `n_each` is what exhaustive search would give every configuration. `seconds_exhaustive` is an estimate: every
    configuration's own mean time times `n_each`; NaN where no times are known. `n_race` leaves out the instances that
    were stopped (`n_stopped`) but not those screened out early (`n_screened` of it); the seconds leave out nothing but
    retried attempts. `n_epochs` are all that were trained, 0 where no workload told.
    """

    n_configurations: int
    n_each: int
    n_race: int
    n_confirmation: int
    n_stopped: int
    seconds_race: float
    seconds_confirmation: float
    seconds_exhaustive: float
    steps: tuple[Step, ...]
    n_screened: int = 0
    n_epochs: int = 0

    @property
    def n_instances(self) -> int:
        """Instances spent, the confirmation's included."""
        return self.n_race + self.n_confirmation

    @property
    def n_exhaustive(self) -> int:
        """Instances of exhaustive search."""
        return self.n_configurations * self.n_each

    @property
    def seconds(self) -> float:
        """Machine seconds spent, the confirmation's included."""
        return self.seconds_race + self.seconds_confirmation

    @property
    def factor(self) -> float:
        """How many times fewer instances than exhaustive search; below 1 where the race spent more."""
        return self.n_exhaustive / self.n_instances if self.n_instances else float("nan")


def savings(instances: pd.DataFrame, *, n_configurations: int | None = None, n_each: int | None = None) -> Savings:
    """Return what `instances` (one row per instance) cost against exhaustive search.

    `n_configurations`: size of the pool, by default the configurations seen. `n_each`: instances that exhaustive
    search gives every one, by default the greatest number that a configuration got in the race.
    """
    race = instances[instances["phase"] == Phase.RACE]
    confirmation = instances[instances["phase"] == Phase.CONFIRMATION]
    counted = race[race["status"].isin(_COUNTED)]
    per_configuration = counted.groupby("configuration_id", sort=False)["seconds"].agg(["size", "mean"])
    deepest = int(per_configuration["size"].max()) if len(per_configuration) else 0
    n_pool = len(per_configuration) if n_configurations is None else n_configurations
    each = deepest if n_each is None else n_each
    # only a screened-out instance ends early with a loss curve
    epochs = instances["epochs"].fillna(0) if "epochs" in instances else pd.Series(0, index=instances.index)
    n_screened = int(((race["status"] == Status.STOPPED) & (epochs[race.index] > 0)).sum())
    timed = float(race["seconds"].fillna(0).sum()) > 0
    return Savings(
        n_configurations=n_pool,
        n_each=each,
        n_race=len(counted) + n_screened,
        n_confirmation=int(confirmation["status"].isin(_COUNTED).sum()),
        n_stopped=int((instances["status"] == Status.STOPPED).sum()) - n_screened,
        seconds_race=float(race["seconds"].fillna(0).sum()),
        seconds_confirmation=float(confirmation["seconds"].fillna(0).sum()),
        seconds_exhaustive=float(per_configuration["mean"].mean()) * n_pool * each if timed else float("nan"),
        steps=_steps(counted),
        n_screened=n_screened,
        n_epochs=int(epochs.sum()),
    )


def _steps(counted: pd.DataFrame) -> tuple[Step, ...]:
    # the s-th instance that counted, whatever its column: a stopped or missing one leaves no gap
    number = counted.sort_values("instance", kind="stable").groupby("configuration_id", sort=False).cumcount() + 1
    table = counted["seconds"].fillna(0).groupby(number).agg(["size", "sum"])
    return tuple(
        Step(int(index), int(size), float(seconds))
        for index, size, seconds in zip(table.index, table["size"], table["sum"], strict=True)
    )


def sentence(spent: Savings) -> str:
    """Say in one honest sentence what was spent against exhaustive search."""
    if not spent.n_instances:
        return "Nothing has been trained yet."
    parts = f" ({spent.n_race:,} to race, {spent.n_confirmation:,} to confirm)" if spent.n_confirmation else ""
    parts += f", {spent.n_screened:,} of them screened out early" if spent.n_screened else ""
    parts += f", {count(spent.n_epochs, 'epoch')}" if spent.n_epochs else ""
    machine = f" and {duration(spent.seconds)} of machine time" if spent.seconds > 0 else ""
    estimate = f" and about {duration(spent.seconds_exhaustive)}" if np.isfinite(spent.seconds_exhaustive) else ""
    versus = (
        f"{spent.n_configurations:,} configurations x {spent.n_each:,} = "
        f"{spent.n_exhaustive:,} instances{estimate} of exhaustive search"
    )
    if spent.factor >= 1.05:
        ratio = f"{spent.factor:.1f} times fewer than the {versus}"
    elif spent.factor <= 0.95:
        ratio = f"{1 / spent.factor:.1f} times more than the {versus}: nothing was saved"
    else:
        ratio = f"about as many as the {versus}: nothing was saved"
    return f"Spent {count(spent.n_instances, 'instance')}{parts}{machine}: {ratio}."


def count(n: int, noun: str) -> str:
    """Return e.g. `1 instance` or `41,567 instances`."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def duration(seconds: float) -> str:
    """Return `seconds` in the unit a reader would choose: ms, s, min, h or days; `unknown` for NaN."""
    if not np.isfinite(seconds):
        return "unknown"
    for size, unit in ((86400 * 2, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds >= size:
            return f"{seconds / (86400 if unit == 'days' else size):.3g} {unit}"
    return f"{seconds * 1000:.3g} ms"
