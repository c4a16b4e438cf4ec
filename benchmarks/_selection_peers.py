"""Peers on the same tables: what they would choose, by their own code."""

from __future__ import annotations

import itertools
import json
import math
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _selection_families import Family, Table
from numpy.typing import NDArray

from raysearch.records import Configuration
from raysearch.samplers.search_space import Space, parse

ROOT = Path(__file__).parent.parent
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
"""The peers' own environment, made by `make bench-peers`."""
NAMES = {"smac": "SMAC3 intensifier", "syne_tune": "Syne Tune ASHA", "pasha": "Syne Tune PASHA"}
FOREIGN = tuple(NAMES)
QUICK = ("syne_tune",)
"""Those whose cost grows no faster than the number of configurations: PASHA took minutes for 1,728."""

Answer = tuple[str, int, int]
"""Setting, instances trained, row chosen."""


def repeater(table: Table, family: Family) -> Iterator[Answer]:
    """Ray's Repeater around a grid: n repeats of everything, averaged by its own code, which drops NaN."""
    from ray.tune.search import Repeater, Searcher

    class Grid(Searcher):  # type: ignore[misc]
        def __init__(self, n_rows: int) -> None:
            super().__init__(metric="loss", mode="min")
            self.rows = iter(range(n_rows))
            self.row_of: dict[str, int] = {}
            self.means = np.full(n_rows, np.inf)

        def suggest(self, trial_id: str) -> dict[str, Any]:
            self.row_of[trial_id] = next(self.rows)
            return {"row": self.row_of[trial_id]}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            if result and not np.isnan(result["loss"]):
                self.means[self.row_of[trial_id]] = result["loss"]

    n_rows = len(table.losses)
    for n in (1, 2, 3, 5, 7, 10, 15, 20):
        grid = Grid(n_rows)
        search = Repeater(grid, repeat=n)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the mean of no value, where every repeat diverged
            for number in range(n_rows * n):
                config = search.suggest(str(number))
                loss = table.losses[config["row"], config["__trial_index__"]]
                search.on_trial_complete(str(number), {"loss": loss if np.isfinite(loss) else np.nan})
        yield f"repeat={n}", n_rows * n, int(np.argmin(grid.means))


def wilcoxon(table: Table, family: Family) -> Iterator[Answer]:
    """A real Optuna study over all rows: instances one by one, WilcoxonPruner, mean of what ran, as its manual says."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for n_most in (5, 10, 20):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(pruner=optuna.pruners.WilcoxonPruner(p_threshold=0.1))
            n_trained = 0
            for row in range(len(table.losses)):
                trial = study.ask(fixed_distributions={})
                trial.set_user_attr("row", row)
                losses: list[float] = []
                for column in range(n_most):
                    losses.append(float(table.losses[row, column]))
                    trial.report(losses[-1], column)
                    if trial.should_prune():
                        break
                n_trained += len(losses)
                study.tell(trial, float(np.mean(losses)))
        yield f"at most {n_most}", n_trained, int(study.best_trial.user_attrs["row"])


def one_epoch(table: Table, family: Family) -> Iterator[Answer]:
    """One epoch of one instance for all, then m whole instances of the best K (arXiv 2307.15422: K = 30, m = 1).

    The others' share of a training is what their epoch costs; the best by the family's own criterion is chosen.
    """
    if table.curves is None:
        return
    n_rows, _, n_epochs = table.curves.shape
    order = np.argsort(table.curves[:, 0, 0], kind="stable")  # NaN, which is worse than all, comes last
    for n_best, n_each in itertools.product((10, 30, 100, 300), (1, 3, 5, 10, 20)):
        if n_best > n_rows // 2:
            continue
        best = order[:n_best]
        row = int(best[np.argmin(family.measure()(table.losses[best, :n_each]))])
        yield f"best {n_best}, {n_each} each", round((n_rows - n_best) / n_epochs) + n_best * n_each, row


def tpe(table: Table, family: Family) -> Iterator[Answer]:
    """Optuna's TPE on the mean of 3 instances: what its manual's users do; the least mean is chosen.

    A proposal that the space's constraints forbid is told as pruned and costs nothing, nor does one that was trained
    before. Where the table is a sample of its grid, the nearest row not yet trained is trained and told in the place of
    a proposal that it does not hold.
    """
    import optuna

    known = {Configuration.of(one).id: row for row, one in enumerate(table.parameters)}
    if not known:
        return
    space = parse(table.space)
    is_sample = math.prod(len(one.grid()) for one in space.parameters.values()) > 4 * len(known)
    places = _places(table.parameters, space)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=0))
    found: dict[int, float] = {}
    asked = 0
    for n in (30, 60, 120, 240, 480):
        while len(found) < min(n, len(known)) and asked < 3 * n:
            trial, asked = study.ask(), asked + 1
            proposed = _suggested(trial, space)
            row = known.get(Configuration.of(proposed).id)
            is_held = row is not None
            if row is None:
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                if not is_sample:
                    continue
                far = np.abs(places - _places([proposed], space)).sum(axis=1)
                far[list(found)] = np.inf
                row = int(np.argmin(far))
            value = float(np.mean(np.minimum(table.losses[row, :3], 1e6)))
            found[row] = value
            if is_held:
                study.tell(trial, value)
            else:
                study.add_trial(_trial(table.parameters[row], space, value))
        yield f"{n} configurations, mean of 3", 3 * len(found), min(found, key=lambda row: found[row])


def _places(parameters: Sequence[Mapping[str, Any]], space: Space) -> NDArray[np.float64]:
    """Return rows of a table in which configurations are apart by how much they differ in each hyperparameter.

    Numbers by their rank, from 0 to 1; everything else by a whole one; so does who lacks a parameter.
    """
    columns = []
    for name, parameter in space.parameters.items():
        choices = [repr(one) for one in parameter.grid()]
        ranks = [choices.index(repr(one[name])) if name in one else -1 for one in parameters]
        if len(choices) > 2 and all(isinstance(one, int | float) for one in parameter.grid()):
            columns.append([rank / (len(choices) - 1) if rank >= 0 else -1.0 for rank in ranks])
        else:
            columns += [[0.5 * (rank == level) for rank in ranks] for level in range(len(choices))]
    return np.array(columns).T


def _trial(parameters: Mapping[str, Any], space: Space, value: float) -> Any:
    """Return a trial of Optuna's that was not asked for."""
    import optuna

    levels = {name: [repr(one) for one in space.parameters[name].grid()] for name in parameters}
    return optuna.trial.create_trial(
        params={name: levels[name].index(repr(own)) for name, own in parameters.items()},
        distributions={
            name: optuna.distributions.CategoricalDistribution(list(range(len(one)))) for name, one in levels.items()
        },
        value=value,
    )


def _suggested(trial: Any, space: Space) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if all(other in values and values[other] in allowed for other, allowed in parameter.when.items()):
            choices = parameter.grid()
            values[name] = choices[trial.suggest_categorical(name, list(range(len(choices))))]
    return values


def foreign(python: Path, peer: str, family: Family, budgets: list[int], replicates: range) -> list[list[Answer]] | str:
    """Return for each replicate the answers of a peer that runs in its own environment, or why there are none."""
    if not python.exists():
        return "not installed: make bench-peers"
    with tempfile.TemporaryDirectory() as folder:
        tables = Path(folder) / "tables.npz"
        answers = Path(folder) / "answers.json"
        np.savez(tables, *[family.table(r).losses for r in replicates])
        script = Path(__file__).parent / f"_selection_{peer}.py"
        command = [str(python), str(script), str(tables), str(answers), *map(str, budgets)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return f"failed: {done.stderr.strip().splitlines()[-1:]}"
        return [[(str(s), int(n), int(row)) for s, n, row in run] for run in json.loads(answers.read_text())]
