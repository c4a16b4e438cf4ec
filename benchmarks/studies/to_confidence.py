"""Study g: instances until the best of 72 configurations is found with 75, 85 or 95 % confidence.

    python benchmarks/studies/to_confidence.py [--size quick|small|full]

Rules decide on a recorded table; the truth are instances that no rule saw. The full size wants 72 ResNets on
Fashion-MNIST; quick and small use the perceptrons on digits that are recorded in benchmarks/data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import _tables
import numpy as np
from _frame import Array, Bench, main
from _numbers import share
from _page import Page

from raysearch.analysis import plots
from raysearch.registry import load

NAME = "to_confidence"
CONFIDENCES = (0.75, 0.85, 0.95)
SHOWN = " / ".join(f"{p:.0%}" for p in CONFIDENCES)
DELTA = 0.02
"""Relative excess of the criterion that hardly matters, for tables whose best ones are all but equal."""
WARMUPS = (1, 2, 3, 4, 5, 7, 10, 11, 12)
PUBLISHED = {
    ("mean", "halving"): "- / 141 / 285",
    ("mean", "exhaustive"): "- / 360 / 504",
    ("std", "halving"): "789 / 861 / 933",
    ("std", "exhaustive"): "1080 / 1152 / 1224",
}


@dataclass(frozen=True)
class Size:
    """How often each rule plays; `n_dear` of those replicates are for rules that compute much."""

    criteria: tuple[str, ...]
    n_replicates: int
    n_dear: int
    n_search: int
    n_held_out: int
    n_most: int


SIZES = {
    "quick": Size(("mean",), 20, 10, 480, 480, 3),
    "small": Size(("mean", "std", "q3"), 400, 20, 480, 480, 24),
    "full": Size(("mean", "std", "q3"), 1000, 200, 30, 90, 24),
}


def study(bench: Bench, size: Size) -> Page:
    table = (
        _tables.resnet72(bench, size.n_search + size.n_held_out, size.n_search)
        if bench.size == "full"
        else _tables.digits72(size.n_search)
    )
    rows, curves = [], {}
    for name in size.criteria:
        truth = np.asarray(load("criteria", name)(table.held_out))
        for policy, setting, costs, leaders in _plays(table, name, size):
            regret = truth[leaders] / truth.min() - 1
            curves.setdefault((name, policy), []).append((float(np.mean(costs)), regret, setting))
    for (name, policy), points in curves.items():
        points.sort(key=lambda point: point[0])
        cost, regret, setting = points[-1]
        rows.append(
            {"criterion": name, "rule": policy}
            | {f"to the best, {SHOWN}": _reached(points, 0.0)}
            | {"published": PUBLISHED.get((name, policy), "")}
            | {f"to within {DELTA:.0%} of it, {SHOWN}": _reached(points, DELTA)}
            | {"dearest setting": setting, "instances": round(cost), "P(best) there": str(share(regret <= 0))}
            | {f"P(within {DELTA:.0%}) there": str(share(regret <= DELTA))}
        )
    return Page(
        "Instances to confidence",
        "How many trainings until the truly best of 72 configurations is found?",
        "CIFAR-10, 72 ResNet-18: by mean accuracy 85 % confidence takes Algorithm 1 141 instances and exhaustive "
        "search 360, 95 % 285 and 504; by std 75 / 85 / 95 % takes 789 / 861 / 933 against 1,080 / 1,152 / 1,224.",
        _figure(curves, size),
        _findings(rows),
        {f"Instances until P(the best is found) reaches a confidence, {table.name}": rows},
        [
            f"{size.n_replicates} replicates ({size.n_dear} of significance and top_two), each an order of the "
            f"{size.n_search} recorded instances per configuration that rules may see; the best is that of the "
            f"{size.n_held_out} others. Replicates share those instances: intervals are of the replicates, not of "
            "other trainings or other best ones. Reached: by the share itself, not by its interval; `-`: not "
            "reached by any setting that was played."
        ],
    )


def _reached(points: list[tuple[float, Array, str]], delta: float) -> str:
    """Return the least cost at which each confidence is reached."""
    least = [next((f"{cost:.0f}" for cost, own, _ in points if np.mean(own <= delta) >= p), "-") for p in CONFIDENCES]
    return " / ".join(least)


def _plays(table: _tables.Table, name: str, size: Size) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield rule, setting, costs and chosen rows, one a replicate, of every rule."""
    from _selection_policies import drive

    criterion, few = load("criteria", name), 2 if name == "std" else 1
    matrices = []
    for replicate in range(size.n_replicates):
        generator = np.random.default_rng(replicate)
        matrices.append(table.seen[:, generator.permutation(size.n_search)])
    for n in (n for n in (1, 2, 3, 4, 5, 7, 10, 15, 16, 17, 20, 24) if few <= n <= size.n_most):
        found = [int(np.argmin(criterion(losses[:, :n]))) for losses in matrices]
        yield "exhaustive", f"n={n}", np.full(len(found), n * len(table.losses)), np.asarray(found)
    rules = {
        "halving": [("halving", {"warmup": w}) for w in WARMUPS if few <= w <= size.n_most],
        "significance": [("significance", {"warmup": w, "test": _test(name), "max_instances": 20}) for w in (2, 3, 5)],
        "top_two": [("top_two", {"budget": b, "cap": size.n_search}) for b in (150, 285, 452)],
    }
    for policy, settings in rules.items():
        for rule, arguments in settings:
            seen = matrices if rule == "halving" else matrices[: size.n_dear]
            played = [drive(load("rules", rule, **arguments), _Matrix(losses), criterion) for losses in seen]
            costs, leaders = [n for _, n in played], [verdict.leader for verdict, _ in played]
            shown = ", ".join(
                f"{key}={value}" for key, value in arguments.items() if key not in ("test", "max_instances", "cap")
            )
            yield policy, shown, np.asarray(costs), np.asarray(leaders)


@dataclass(frozen=True)
class _Matrix:
    losses: Array


def _test(criterion: str) -> str:
    return {"mean": "welch", "std": "levene"}.get(criterion, "mann_whitney")


def _findings(rows: list[dict[str, object]]) -> list[str]:
    found = []
    for row in rows:
        if row["rule"] != "exhaustive":
            other = next(one for one in rows if one["rule"] == "exhaustive" and one["criterion"] == row["criterion"])
            pairs = [f"{key}: {row[key]} against {other[key]}" for key in row if str(key).startswith("to ")]
            found.append(
                f"{row['rule']} against exhaustive search by {row['criterion']}, instances {'; '.join(pairs)}."
            )
    return found


@plots.styled
def _figure(curves: dict[tuple[str, str], list[tuple[float, Array, str]]], size: Size) -> plots.Figure:
    figure, panels = plots.canvas(4.2 * len(size.criteria) + 0.8, 4.0, columns=len(size.criteria))
    for axes, name in zip(panels, size.criteria, strict=True):
        policies = [policy for criterion, policy in curves if criterion == name]
        for color, policy in zip(plots.PALETTE, policies, strict=False):
            costs, regrets, _ = zip(*curves[name, policy], strict=True)
            near = [float(np.mean(one <= DELTA)) for one in regrets]
            axes.plot(costs, near, lw=0.9, ls="--", color=color)
            shares = [share(one <= 0) for one in regrets]
            reach = [[one.value - one.low for one in shares], [one.high - one.value for one in shares]]
            level = [one.value for one in shares]
            axes.errorbar(costs, level, np.maximum(reach, 0), marker="o", ms=3, lw=1.2, color=color, label=policy)
        for confidence in CONFIDENCES:
            axes.axhline(confidence, color=plots.GREY, lw=0.7, ls=":")
        plots.scale(axes, [cost for policy in policies for cost, *_ in curves[name, policy]], "x")
        axes.set_xlabel("instances")
        axes.set_ylabel(f"P(the best is found); dashed: within {DELTA:.0%}")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower right")
        plots.title(
            axes, f"By {name}", 40, f"n = {size.n_replicates} replicates ({size.n_dear}: significance, top_two)"
        )
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
