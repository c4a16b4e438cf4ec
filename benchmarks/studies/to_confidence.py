"""Study g: instances until the best of 72 configurations is found with 75, 85 or 95 % confidence.

    python benchmarks/studies/to_confidence.py [--size quick|small|full]

Rules decide on a recorded table; the truth are instances that no rule saw. The full size wants 72 ResNets on
Fashion-MNIST as search_spaces has them; quick and small use what is recorded in benchmarks/data: 72 smaller ResNets,
perceptrons on digits, networks on images.
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
BUDGETS = {72: (150, 285, 452), 320: (700, 1300, 2000), 20: (60, 120, 200)}
"""Of top_two, by configurations: about twice, four and six instances of each."""
PUBLISHED = {
    ("mean", "halving"): "- / 141 / 285",
    ("mean", "exhaustive"): "- / 360 / 504",
    ("std", "halving"): "789 / 861 / 933",
    ("std", "exhaustive"): "1080 / 1152 / 1224",
}


@dataclass(frozen=True)
class Size:
    """How often each rule plays on which tables; `n_dear` of those replicates are for rules that compute much."""

    criteria: dict[str, tuple[str, ...]]
    n_replicates: int
    n_dear: int
    n_search: int
    n_held_out: int
    n_most: int


SIZES = {
    "quick": Size({"digits": ("mean",)}, 20, 10, 480, 480, 3),
    "small": Size(
        {
            "small resnets": ("mean", "std", "q3"),
            "digits": ("mean", "std", "q3"),
            "images": ("mean", "q3"),
            "best images": ("std",),
        },
        200,
        20,
        480,
        480,
        24,
    ),
    "full": Size({"resnets": ("mean", "std", "q3")}, 1000, 200, 30, 90, 24),
}
_SHORT = {
    "small resnets": "72 small ResNets",
    "resnets": "ResNets",
    "digits": "72 on digits",
    "images": "320 on images",
    "best images": "best 20 on images",
}
Points = list[tuple[float, Array, str]]


def study(bench: Bench, size: Size) -> Page:
    curves: dict[tuple[str, str], dict[str, Points]] = {}
    tables, names = {}, {}
    for job, criteria in size.criteria.items():
        table = _table(bench, job, size)
        names[job] = table.name
        for name in criteria:
            curves[job, name] = _curves(table, name, size)
        rows = [row for name in criteria for row in _rows(curves[job, name], name, job)]
        tables[f"Instances until P(the best is found) reaches a confidence, {table.name}"] = rows
    return Page(
        "Instances to confidence",
        "How many trainings until the truly best of many configurations is found?",
        "CIFAR-10, 72 ResNet-18: by mean accuracy 85 % confidence takes Algorithm 1 141 instances and exhaustive "
        "search 360, 95 % 285 and 504; by std 75 / 85 / 95 % takes 789 / 861 / 933 against 1,080 / 1,152 / 1,224.",
        _figure(curves, size),
        [
            finding
            for job, rows in zip(size.criteria, tables.values(), strict=True)
            for finding in _findings(rows, _SHORT[job])
        ],
        tables,
        [
            f"{size.n_replicates} replicates ({size.n_dear} of significance and top_two), each an order of the "
            "recorded instances per configuration that rules may see (480 of digits, 30 of images, 20 of small "
            "ResNets, where the dearest exhaustive search sees all and every replicate agrees); the best is that of "
            "others (480 of digits, 100 of the best 20 on images, 40 of each small ResNet). "
            "Replicates share those instances: intervals are of the replicates, not of other trainings or other best "
            "ones. Reached: by the share itself, not by its interval; `-`: not reached by any setting that was played.",
            "By std alone the best of the 320 are networks that learn nothing, which all answer alike: there the std "
            "is played among the best 20 by Q3.",
        ],
    )


def _table(bench: Bench, job: str, size: Size) -> _tables.Table:
    if job == "resnets":
        return _tables.resnet72(bench, size.n_search + size.n_held_out, size.n_search)
    if job == "small resnets":
        return _tables.small_resnet72()
    return _tables.digits72(size.n_search) if job == "digits" else _tables.fashion320(best=job == "best images")


def _curves(table: _tables.Table, name: str, size: Size) -> dict[str, Points]:
    """Return cost, regrets and setting of every setting of each rule, the cheapest first."""
    truth, found = table.truth(load("criteria", name)), {}
    for policy, setting, costs, leaders in _plays(table, name, size):
        regret = truth[leaders] / truth.min() - 1
        found.setdefault(policy, []).append((float(np.mean(costs)), regret, setting))
    return {policy: sorted(points, key=lambda point: point[0]) for policy, points in found.items()}


def _rows(curves: dict[str, Points], name: str, job: str) -> list[dict[str, object]]:
    rows = []
    for policy, points in curves.items():
        cost, regret, setting = points[-1]
        row: dict[str, object] = {"criterion": name, "rule": policy, f"to the best, {SHOWN}": _reached(points, 0.0)}
        if job in ("digits", "resnets", "small resnets"):
            row["published"] = PUBLISHED.get((name, policy), "")
        rows.append(
            row
            | {f"to within {DELTA:.0%} of it, {SHOWN}": _reached(points, DELTA)}
            | {"dearest setting": setting, "instances": round(cost), "P(best) there": str(share(regret <= 0))}
            | {f"P(within {DELTA:.0%}) there": str(share(regret <= DELTA))}
        )
    return rows


def _reached(points: Points, delta: float) -> str:
    """Return the least cost at which each confidence is reached."""
    least = [next((f"{cost:.0f}" for cost, own, _ in points if np.mean(own <= delta) >= p), "-") for p in CONFIDENCES]
    return " / ".join(least)


def _plays(table: _tables.Table, name: str, size: Size) -> Iterator[tuple[str, str, Array, Array]]:
    """Yield rule, setting, costs and chosen rows, one a replicate, of every rule."""
    from _selection_policies import drive

    criterion, few = load("criteria", name), 2 if name == "std" else 1
    matrices = []
    n_search = table.seen.shape[1]
    for replicate in range(size.n_replicates):
        generator = np.random.default_rng(replicate)
        matrices.append(table.seen[:, generator.permutation(n_search)])
    for n in (n for n in (1, 2, 3, 4, 5, 7, 10, 15, 16, 17, 20, 24) if few <= n <= min(size.n_most, n_search)):
        found = [int(np.argmin(criterion(losses[:, :n]))) for losses in matrices]
        yield "exhaustive", f"n={n}", np.full(len(found), n * len(table.losses)), np.asarray(found)
    rules = {
        "halving": [("halving", {"warmup": w}) for w in WARMUPS if few <= w <= size.n_most],
        "significance": [("significance", {"warmup": w, "test": _test(name), "max_instances": 20}) for w in (2, 3, 5)],
        "top_two": [("top_two", {"budget": b, "cap": n_search}) for b in BUDGETS[len(table.losses)]],
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


def _findings(rows: list[dict[str, object]], job: str) -> list[str]:
    found = []
    for row in rows:
        if row["rule"] != "exhaustive":
            other = next(one for one in rows if one["rule"] == "exhaustive" and one["criterion"] == row["criterion"])
            pairs = [f"{key}: {row[key]} against {other[key]}" for key in row if str(key).startswith("to ")]
            found.append(
                f"{job}: {row['rule']} against exhaustive search by {row['criterion']}, instances {'; '.join(pairs)}."
            )
    return found


@plots.styled
def _figure(curves: dict[tuple[str, str], dict[str, Points]], size: Size) -> plots.Figure:
    columns = min(3, len(curves))
    n_rows = -(-len(curves) // columns)
    figure, panels = plots.canvas(4.2 * columns + 0.8, 4.0 * n_rows, rows=n_rows, columns=columns)
    for axes, ((job, name), policies) in zip(panels, curves.items(), strict=True):
        for color, (policy, points) in zip(plots.PALETTE, policies.items(), strict=False):
            costs, regrets, _ = zip(*points, strict=True)
            near = [float(np.mean(one <= DELTA)) for one in regrets]
            axes.plot(costs, near, lw=0.9, ls="--", color=color)
            shares = [share(one <= 0) for one in regrets]
            reach = [[one.value - one.low for one in shares], [one.high - one.value for one in shares]]
            level = [one.value for one in shares]
            axes.errorbar(costs, level, np.maximum(reach, 0), marker="o", ms=3, lw=1.2, color=color, label=policy)
        for confidence in CONFIDENCES:
            axes.axhline(confidence, color=plots.GREY, lw=0.7, ls=":")
        plots.scale(axes, [cost for points in policies.values() for cost, *_ in points], "x")
        axes.set_xlabel("instances")
        axes.set_ylabel(f"P(the best is found); dashed: within {DELTA:.0%}")
        axes.set_ylim(0, 1.02)
        axes.legend(loc="lower right")
        note = f"n = {size.n_replicates} replicates ({size.n_dear}: significance, top_two)"
        plots.title(axes, f"{_SHORT[job]}, by {name}", 40, note)
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
