"""Study f: six criteria choose six winners; how do they differ on fresh seeds?

    python benchmarks/studies/six_criteria.py [--size quick|small|full]

Each search sees so many instances of every configuration and each criterion takes its best. The winners are judged by
instances that no search saw. Quick and small use tables that are recorded in benchmarks/data.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import _tables
import numpy as np
from _frame import Array, Bench, main
from _numbers import QUARTILES, of_rows, row
from _page import Page, boxed

from raysearch.analysis import plots
from raysearch.registry import load

NAME = "six_criteria"
CRITERIA = ("mean", "median", "q3", "q3_plus_iqr", "max", "min")
JUDGED = ("median", "q3", "iqr", "max")


@dataclass(frozen=True)
class Size:
    """How many instances a search sees, and how many searches there are, on which tables."""

    n_race: int
    n_searches: int
    n_judging: int
    tables: tuple[str, ...]


SIZES = {
    "quick": Size(10, 4, 40, ("digits",)),
    "small": Size(10, 40, 480, ("digits", "images")),
    "full": Size(10, 9, 60, ("resnets",)),
}


def study(bench: Bench, size: Size) -> Page:
    findings, tables, firsts, beyond = [], {}, {}, 0
    for job in size.tables:
        table = _table(bench, job, size)
        chosen = {name: _winners(table.seen, name, size) for name in CRITERIA}
        truth = {name: table.truth(QUARTILES[name]) for name in JUDGED}
        rows = [_row(name, winners, chosen["q3"], truth) for name, winners in chosen.items()]
        judging = table.judging or tuple(table.held_out)
        if job == "images":
            beyond = sum(len(judging[row]) == table.n_search for own in chosen.values() for row in own)
        first = {f"{name}: configuration {winners[0]}": judging[winners[0]] for name, winners in chosen.items()}
        firsts[table.name] = first
        findings += _findings(table.name, chosen, truth, size)
        tables[f"{table.name}: fresh-seed statistics of the winners, mean over {size.n_searches} searches"] = rows
        tables[f"{table.name}: the first search's winners"] = [
            {"criterion": name, **row(own)} for name, own in first.items()
        ]
    return Page(
        "Six criteria, six winners",
        "Does the statistic that steers a search matter for what one ends with?",
        "The paper compares mean, median, Q3, Q3+IQR, max and min; the robust ones choose configurations whose "
        "instances lie closer together. It gives no table.",
        _figure(firsts),
        findings,
        tables,
        [
            f"Searches see {size.n_race} instances of each configuration: disjoint ones of digits, drawn anew from "
            "the same 30 of images. Judged by instances of each that no search saw (of images, 100 of the best 20; "
            f"{beyond} of all winners there lie beyond these and are judged by the 30). The best one is that of the "
            "lowest Q3 there. Intervals: bootstrap over searches; the judging instances are common to all, and on "
            "images so are those that searches draw from."
        ],
    )


def _table(bench: Bench, job: str, size: Size) -> _tables.Table:
    n_search = size.n_race * size.n_searches
    if job == "images":
        return _tables.fashion320()
    if job == "resnets":
        return _tables.resnet72(bench, n_search + size.n_judging, n_search)
    table = _tables.digits72(n_search)
    return replace(table, losses=np.hstack([table.seen, table.held_out[:, -size.n_judging :]]))


def _findings(title: str, chosen: dict[str, Array], truth: dict[str, Array], size: Size) -> list[str]:
    different = np.mean([len({chosen[name][s] for name in CRITERIA}) for s in range(size.n_searches)])
    findings = [
        f"{title}: in {different:.1f} different configurations a search on average do the six criteria end "
        f"(n = {size.n_searches} searches)."
    ]
    for name in CRITERIA[1:]:
        found = {what: of_rows(np.mean, own[chosen[name]] / own[chosen["mean"]]) for what, own in truth.items()}
        said = ", ".join(f"{what} {found[what]} {found[what].tells(1)}" for what in JUDGED)
        findings.append(f"{name}'s winner over mean's, on fresh seeds: {said}.")
    return findings


def _figure(firsts: dict[str, dict[str, Array]]) -> plots.Figure:
    figure, panels = plots.canvas(8.6, 4.0 * len(firsts), rows=len(firsts))
    for axes, (name, first) in zip(panels, firsts.items(), strict=True):
        boxed(first, "loss on fresh seeds", f"Winners of the first search, {name}", axes=axes)
    return figure


def _winners(seen: Array, name: str, size: Size) -> Array:
    """Return the row that the criterion chooses in each search."""
    criterion, n_held = load("criteria", name), seen.shape[1]
    if n_held >= size.n_race * size.n_searches:
        searches = np.split(seen, size.n_searches, axis=1)
    else:
        orders = [np.random.default_rng(search).permutation(n_held) for search in range(size.n_searches)]
        searches = [seen[:, order[: size.n_race]] for order in orders]
    return np.asarray([int(np.argmin(criterion(losses))) for losses in searches])


def _row(name: str, winners: Array, reference: Array, truth: dict[str, Array]) -> dict[str, object]:
    found: dict[str, object] = {"criterion": name, "different winners": len(set(winners.tolist()))}
    found["same winner as q3"] = f"{np.mean(winners == reference):.0%}"
    best = int(np.argmin(truth["q3"]))
    for statistic, own in truth.items():
        found[f"{statistic} over the best one's"] = str(of_rows(np.mean, own[winners] / own[best]))
    return found


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
