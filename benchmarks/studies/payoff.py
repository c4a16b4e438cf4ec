"""Study 5: does robust selection pay? What a usual tuner would ship against what raysearch ships, at equal epochs.

    python benchmarks/studies/payoff.py [--size quick|small|full]

Every tuner searches the same recorded trainings of three jobs, many times over; what it ships is judged by trainings
that none of them saw. A usual tuner trains a configuration once and ships the best training's configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import _tables
import numpy as np
import optuna
from _frame import Array, Bench, main
from _numbers import Estimate, of_rows
from _page import Page
from _tables import Size

from raysearch.analysis import plots
from raysearch.registry import load

NAME = "payoff"
optuna.logging.set_verbosity(optuna.logging.ERROR)


SIZES = {
    "quick": Size(("tabular", "fashion"), 20, 10, 3),
    "small": Size(("showers", "fashion", "tabular"), 20, 40, 12),
    "full": Size(("showers", "fashion", "tabular"), 40, 40, 20),
}
MARKERS = {"median": "o", "Q3": "s", "worst of 40": "^"}
JUDGED = {"median": np.median, "Q3": lambda a, axis: np.quantile(a, 0.75, axis=axis), "worst of 40": np.max}


@dataclass(frozen=True)
class Search:
    """What one search may see: `curves` `(n_configurations, n_instances, n_epochs)` of validation losses."""

    table: _tables.Table
    curves: Array
    losses: Array
    budget: int
    seed: int


def study(bench: Bench, size: Size) -> Page:
    rows, found, costs, failed = [], {}, {}, []
    for job in size.jobs:
        table = _tables.kept(bench, job, size.n_search, size.n_held_out)
        shipped, costs[job] = _shipped(table, size, bench.runs / bench.size / NAME / f"{job}.jsonl")
        failed.append(_failed(table, shipped))
        judged = {name: statistic(table.held_out, axis=1) for name, statistic in JUDGED.items()}
        for name, own in judged.items():
            for policy, winners in shipped.items():
                found[job, policy, name] = own[winners] / own.min()
    for (job, policy, name), own in found.items():
        if name == "median":
            row = {"job": _tables.jobs(bench.size)[job].title, "tuner": policy, "searches": len(own)}
            row |= {"share of the budget's epochs": f"{np.mean(costs[job][policy]):.0%}"}
            row |= {f"{one} over the best possible": str(of_rows(np.mean, found[job, policy, one])) for one in JUDGED}
            rows.append(row)
    return Page(
        "Does robust selection pay?",
        "What would a usual tuner ship, and what does raysearch ship for the same epochs?",
        "The paper compares with models of a neural architecture search, which vary more; a figure for usual tuners "
        "is not published.",
        _figure(found, size, bench.size),
        _findings(found, size, bench.size),
        {"Losses of what was shipped, over those of the configuration that has the lowest": rows},
        [
            "The budget is four whole trainings of each configuration, in epochs. `one training each` takes a quarter "
            "of it. Tuners draw trainings without repetition as far as there are any. ASHA is Optuna's "
            "SuccessiveHalvingPruner with random proposals, TPE has the MedianPruner. Judged on the test losses of "
            f"{size.n_held_out} trainings that no search saw. Intervals: bootstrap over searches, which share one "
            "table of trainings: they say nothing about other data or spaces. The trainings of size small are kept in "
            "benchmarks/data (payoff_*.parquet, made by benchmarks/record_payoff.py): nothing is trained for it.",
            " ".join(failed),
        ],
    )


def _shipped(table: _tables.Table, size: Size, record: Path) -> tuple[dict[str, Array], dict[str, list[float]]]:
    """Return the rows that each tuner ships, one a search, and the shares of the budget that it took.

    Searches are kept in `record`, one a line, and are not made again.
    """
    assert table.curves is not None
    of_table = hashlib.sha256(np.ascontiguousarray(table.curves).tobytes()).hexdigest()[:16]
    kept = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
    made = {one["seed"]: one["shipped"] for one in kept if one["of_table"] == of_table}
    for seed in set(range(size.n_searches)) - {*made}:
        order = np.random.default_rng(seed).permutation(size.n_search)
        budget = 4 * len(table.losses) * table.curves.shape[2]
        search = Search(table, table.curves[:, order], table.losses[:, order], budget, seed)
        made[seed] = {}
        for policy, ship in POLICIES.items():
            row, cost = ship(search)
            made[seed][policy] = (row, cost / budget)
        record.parent.mkdir(parents=True, exist_ok=True)
        with record.open("a") as file:
            file.write(json.dumps({"seed": seed, "of_table": of_table, "shipped": made[seed]}) + "\n")
    searches = [made[seed] for seed in range(size.n_searches)]
    rows = {policy: np.asarray([one[policy][0] for one in searches]) for policy in POLICIES}
    return rows, {policy: [one[policy][1] for one in searches] for policy in POLICIES}


def _failed(table: _tables.Table, shipped: dict[str, Array]) -> str:
    """Return a sentence on the few trainings that the worst of many may rest on."""
    rows = sorted({int(row) for winners in shipped.values() for row in winners})
    judged = table.held_out[rows]
    n = int((judged > 5 * np.median(judged, axis=1, keepdims=True)).sum())
    return (
        f"{table.name}: of the {judged.size:,} judged trainings of the {len(rows)} configurations that anyone shipped, "
        f"{n} lost more than five times their configuration's median; what the worst of {judged.shape[1]} shows rests "
        "on these."
    )


def _one_each(search: Search) -> tuple[int, int]:
    return int(np.argmin(search.losses[:, 0])), search.curves[:, 0].size


def _tuned(sampler: type, pruner: Callable[[], optuna.pruners.BasePruner]) -> Callable[[Search], tuple[int, int]]:
    """Return a tuner: one training a trial, the best whole training's configuration is shipped."""

    def ship(search: Search) -> tuple[int, int]:
        names = [
            name for name in search.table.parameters[0] if len({_text(p, name) for p in search.table.parameters}) > 1
        ]
        choices = {name: sorted({_text(p, name) for p in search.table.parameters}) for name in names}
        rows = {tuple(_text(p, name) for name in names): row for row, p in enumerate(search.table.parameters)}
        study = optuna.create_study(sampler=sampler(seed=search.seed), pruner=pruner())
        used, spent, best = np.zeros(len(rows), dtype=int), 0, (np.inf, 0)
        while spent < search.budget:
            trial = study.ask()
            row = rows[tuple(trial.suggest_categorical(name, choices[name]) for name in names)]
            column = used[row] % search.losses.shape[1]
            used[row] += 1
            for epoch, loss in enumerate(search.curves[row, column], start=1):
                spent += 1
                trial.report(float(loss), epoch)
                if epoch < search.curves.shape[2] and trial.should_prune():
                    study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                    break
            else:
                study.tell(trial, float(search.losses[row, column]))
                best = min(best, (float(search.losses[row, column]), row))
        return best[1], spent

    return ship


def _raced(rule: str, **arguments: int) -> Callable[[Search], tuple[int, int]]:
    def ship(search: Search) -> tuple[int, int]:
        from _selection_policies import drive

        more = {"budget": 4 * len(search.losses), "cap": search.losses.shape[1]} if rule == "top_two" else {}
        made = load("rules", rule, **arguments, **more)
        verdict, n = drive(made, replace(search.table, losses=search.losses), load("criteria", "q3"))
        return int(verdict.leader), n * search.curves.shape[2]

    return ship


POLICIES: dict[str, Callable[[Search], tuple[int, int]]] = {
    "one training each": _one_each,
    "random, best training": _tuned(optuna.samplers.RandomSampler, optuna.pruners.NopPruner),
    "TPE, MedianPruner": _tuned(optuna.samplers.TPESampler, lambda: optuna.pruners.MedianPruner(n_warmup_steps=1)),
    "ASHA": _tuned(optuna.samplers.RandomSampler, lambda: optuna.pruners.SuccessiveHalvingPruner(1, 3)),
    "raysearch, halving": _raced("halving", warmup=3),
    "raysearch, top_two": _raced("top_two"),
}
OURS = [policy for policy in POLICIES if policy.startswith("raysearch")]


def _text(parameters: dict[str, object], name: str) -> str:
    return json.dumps(parameters[name])


def _findings(found: dict[tuple[str, str, str], Array], size: Size, of_size: str) -> list[str]:
    sentences = []
    for job in size.jobs:
        for policy in OURS:
            for judged in ("Q3", "worst of 40"):
                against = {}
                for other in POLICIES:
                    if other not in OURS:
                        against[other] = _saved(found[job, policy, judged], found[job, other, judged])
                shown = "; ".join(f"{other} {one} ({one.tells(1)})" for other, one in against.items())
                sentences.append(f"{_tables.jobs(of_size)[job].title}: {judged} of {policy} over that of {shown}.")
    return sentences


def _saved(one: Array, other: Array) -> Estimate:
    """Return the mean over searches of one tuner's number over the other's."""
    return of_rows(lambda a, b: float(np.mean(a) / np.mean(b)), one, other)


@plots.styled
def _figure(found: dict[tuple[str, str, str], Array], size: Size, of_size: str) -> plots.Figure:
    figure, panels = plots.canvas(max(6.6, 4.0 * len(size.jobs)), 4.0, columns=len(size.jobs))
    for axes, job in zip(panels, size.jobs, strict=True):
        seen = []
        for shift, (judged, marker) in zip((-0.24, 0.0, 0.24), MARKERS.items(), strict=True):
            for row, policy in enumerate(POLICIES):
                color = plots.PALETTE[0] if policy in OURS else plots.INK
                mean = of_rows(np.mean, found[job, policy, judged])
                seen += [mean.low, mean.high]
                axes.plot([mean.low, mean.high], [row + shift] * 2, lw=1.4, color=color, alpha=0.6)
                name = judged if row == 0 else None
                axes.plot(mean.value, row + shift, marker, ms=5, color=color, label=name)
        axes.set_yticks(range(len(POLICIES)), POLICIES)
        axes.set_ylim(len(POLICIES) - 0.5, -0.5)
        axes.axvline(1.0, lw=0.8, ls=":", color=plots.GREY)
        plots.scale(axes, seen, "x")
        axes.set_xlabel("loss over the least possible")
        plots.title(axes, _tables.jobs(of_size)[job].title, 40)
    for axes in panels[1:]:  # the tuners are the same
        axes.tick_params(labelleft=False)
    note = f"of {size.n_held_out} fresh trainings; mean and 95 % interval of {size.n_searches} searches"
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, title=note, title_fontsize=9)
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
