"""The plain tables of one race, and what every figure and the report derive from them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from raysearch.criteria._statistics import quantile
from raysearch.criteria.intervals import Statistic
from raysearch.criteria.objectives import label
from raysearch.records import Phase, Status, Verdict
from raysearch.rules import Elimination

FARTHEST = 1e100
"""No figure can have an axis from ordinary losses to the ends of floating point: what is beyond this is drawn as +inf,
and what is as near to 0 as its inverse as 0."""


@dataclass(frozen=True)
class Results:
    """One race, finished or broken off.

    `instances`: one row per instance, columns configuration_id, parameters (JSON), p.<name>, seed, instance, phase,
    status, loss (+inf = diverged or failed, NaN = stopped), test_loss, epochs, seconds, node, attempt, error, curve.
    `rounds`: (round, configuration id, criterion at its end). `verdict` is None until the race has ended.
    `loss_label`: what the loss is, with its unit, for axes.
    """

    instances: pd.DataFrame
    eliminations: Sequence[Elimination[str]]
    rounds: Sequence[tuple[int, str, float]]
    verdict: Verdict | None
    experiment: Mapping[str, Any]
    criterion: Statistic
    loss_label: str = "validation loss"
    criterion_label: str = field(default="")

    @cached_property
    def drawable(self) -> Results:
        """These results as figures show them; the same object where no loss is extreme. See `drawable`."""
        own: list[Any] = self.instances["curve"].tolist()
        curves = [np.asarray(() if curve is None else curve, dtype=float) for curve in own]
        loss = self.instances["loss"].to_numpy(dtype=float)
        marks = [x for cut in self.eliminations for x in (*cut.values, cut.cutoff)]
        marks += [value for *_, value in self.rounds]
        everything = np.concatenate([loss, np.asarray(marks, dtype=float), *curves])
        if np.array_equal(drawable(everything), everything, equal_nan=True):
            return self
        return replace(
            self,
            instances=self.instances.assign(
                loss=drawable(loss), curve=pd.Series([drawable(c) for c in curves], self.instances.index, dtype=object)
            ),
            eliminations=[_drawable(cut) for cut in self.eliminations],
            rounds=[(number, name, _one(value)) for number, name, value in self.rounds],
        )

    @cached_property
    def criterion_name(self) -> str:
        """The criterion as the experiment names it, e.g. `q3` or `quantile(q=0.9)`."""
        if self.criterion_label:
            return self.criterion_label
        section = self.experiment.get("criterion")
        if isinstance(section, dict) and "name" in section:
            return label(section)
        return str(section or (self.verdict.criterion if self.verdict else "") or "criterion")

    @cached_property
    def race(self) -> pd.DataFrame:
        """The race's instances that count: finished, diverged or failed, in the order of their columns."""
        rows = self.instances[(self.instances["phase"] == Phase.RACE) & (self.instances["status"] != Status.STOPPED)]
        return rows.sort_values("instance", kind="stable")

    @cached_property
    def ids(self) -> list[str]:
        """Configurations with at least one counted race instance, in the order of the file; rows of `matrix`."""
        seen = set(self.race["configuration_id"])
        return [str(name) for name in pd.unique(self.instances["configuration_id"]) if name in seen]

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Race losses `(n_configurations, n_instances)`, each row's finished instances first, then NaN."""
        row_of = {name: row for row, name in enumerate(self.ids)}
        rows = self.race["configuration_id"].map(row_of).to_numpy(dtype=np.intp)
        columns = self.race.groupby("configuration_id", sort=False).cumcount().to_numpy(dtype=np.intp)
        matrix = np.full((len(self.ids), int(columns.max(initial=-1)) + 1), np.nan)
        loss = self.race["loss"].to_numpy(dtype=float)
        matrix[rows, columns] = np.where(np.isnan(loss), math.inf, loss)  # NaN that is not STOPPED has diverged
        return matrix

    @cached_property
    def parameters(self) -> dict[str, dict[str, Any]]:
        """Parameters by configuration id."""
        first = self.instances.drop_duplicates("configuration_id")
        return {
            str(name): dict(json.loads(text) if isinstance(text, str) else text)
            for name, text in zip(first["configuration_id"], first["parameters"], strict=True)
        }

    @cached_property
    def varied(self) -> list[str]:
        """Names of the parameters that differ between configurations, in the order of the file."""
        values: dict[str, set[str]] = {}
        for parameters in self.parameters.values():
            for name in parameters:
                values.setdefault(name, set())
        for parameters in self.parameters.values():
            for name, seen in values.items():
                seen.add(json.dumps(parameters.get(name), sort_keys=True, default=str))
        return [name for name, seen in values.items() if len(seen) > 1]

    def label(self, name: str) -> str:
        """Return the varied parameters of configuration `name` in one line."""
        parameters = self.parameters.get(name, {})
        return ", ".join(f"{key}={text_of(parameters[key])}" for key in self.varied if key in parameters) or name

    def losses(self, name: str, phase: Phase = Phase.RACE) -> NDArray[np.float64]:
        """Return the counted losses `(n_instances,)` of one configuration."""
        if phase is Phase.RACE:
            if name not in self._row_of:
                return np.empty(0)
            row = self.matrix[self._row_of[name]]
            return np.asarray(row[~np.isnan(row)])
        rows = self.instances[(self.instances["phase"] == phase) & (self.instances["configuration_id"] == name)]
        loss = rows.loc[rows["status"] != Status.STOPPED, "loss"].to_numpy(dtype=float)
        return np.where(np.isnan(loss), math.inf, loss)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def n_common(self) -> int:
        """The number of instances that every configuration has: criteria over these compare like with like."""
        return int(np.count_nonzero(~np.isnan(self.matrix), axis=1).min()) if len(self.ids) else 0

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per configuration, best first: the winner, other survivors, then the eliminated, last out first."""
        out = {
            id_: (cut, value)
            for cut in self.eliminations
            for id_, value in zip(cut.configurations, cut.values, strict=True)
        }
        winner = self.verdict.winner.id if self.verdict else None
        q1, q3 = quantile(self.matrix, 0.25), quantile(self.matrix, 0.75)
        with np.errstate(invalid="ignore"):
            iqr = np.where(np.isposinf(q3), np.inf, q3 - q1)
        table = pd.DataFrame(
            {
                "configuration_id": self.ids,
                "status": ["winner" if i == winner else "eliminated" if i in out else "survivor" for i in self.ids],
                "n_instances": np.count_nonzero(~np.isnan(self.matrix), axis=1),
                "n_bad": np.count_nonzero(np.isposinf(self.matrix), axis=1),
                "criterion": [float(self.criterion(row[~np.isnan(row)])) for row in self.matrix],
                "median": quantile(self.matrix, 0.5),
                "q3": q3,
                "iqr": iqr,
                "max": quantile(self.matrix, 1.0),
                "round": [out[i][0].round if i in out else None for i in self.ids],
                "cutoff": [out[i][0].cutoff if i in out else None for i in self.ids],
            }
        ).astype({"round": "Int64", "cutoff": float})
        last = table["round"].astype(float).fillna(math.inf)
        order = pd.DataFrame(
            {
                "a": table["status"].map({"winner": 0, "survivor": 1, "eliminated": 2}),
                "b": -last,
                "c": [out[i][1] if i in out else v for i, v in zip(self.ids, table["criterion"], strict=True)],
            }
        )
        # survivors of an open race have different depths: those who went further have proved more
        order.loc[order["a"] == 1, "b"] = -table["n_instances"].astype(float)
        return table.loc[order.sort_values(["a", "b", "c"], kind="stable").index].reset_index(drop=True)

    @cached_property
    def scored(self) -> list[tuple[int, str, float]]:
        """`rounds`, and before the first cut the criterion over each number of instances that all have reached.

        The rounds before a cut are added only where a round is one instance of every survivor.
        """
        stepwise = all(cut.round == cut.n_instances for cut in self.eliminations if not cut.reason)
        first = min((number for number, *_ in self.rounds), default=self.n_common + 1) if stepwise else 0
        warmup = [
            (n, name, float(self.criterion(row[:n])))
            for n in range(1, min(first, self.n_common + 1))
            for name, row in zip(self.ids, self.matrix, strict=True)
        ]
        return [*warmup, *self.rounds]

    @property
    def leader(self) -> str | None:
        """The winner; before the race has ended, the best survivor among those with the most instances."""
        if self.verdict:
            return self.verdict.winner.id
        return str(self.table["configuration_id"].iloc[0]) if len(self.table) else None

    def finalists(self, n: int = 8) -> list[str]:
        """Return at most `n` configurations that lasted longest, best first."""
        return [str(name) for name in self.table["configuration_id"].head(n)]


def drawable(values: ArrayLike) -> NDArray[np.float64]:
    """Return `values`, any shape, within what a figure can show: +inf beyond FARTHEST, 0 where next to it."""
    array = np.asarray(values, dtype=float)
    array = np.where(array > FARTHEST, np.inf, np.where(array < -FARTHEST, -FARTHEST, array))
    return np.where(np.abs(array) < 1 / FARTHEST, 0.0, array)


def _drawable(cut: Elimination[str]) -> Elimination[str]:
    return replace(cut, values=tuple(map(_one, cut.values)), cutoff=_one(cut.cutoff))


def _one(value: float) -> float:
    return float(drawable(value))


def text_of(value: object) -> str:
    """Return a parameter's value as a reader writes it: 0.0001 as 0.0001, lists without spaces."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), default=str)
