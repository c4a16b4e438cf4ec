"""Study f: six criteria choose six winners; how do they differ on fresh seeds?

    python benchmarks/studies/six_criteria.py [--size quick|small|full]

Each search sees so many instances of every configuration and each criterion takes its best. The winners are judged by
instances that no search saw. Quick and small use the table that is recorded in benchmarks/data.
"""

from __future__ import annotations

from dataclasses import dataclass

import _tables
import numpy as np
from _frame import Array, Bench, main
from _numbers import QUARTILES, of_rows, row
from _page import Page, boxed

from raysearch.registry import load

NAME = "six_criteria"
CRITERIA = ("mean", "median", "q3", "q3_plus_iqr", "max", "min")
JUDGED = ("median", "q3", "iqr", "max")


@dataclass(frozen=True)
class Size:
    """How many instances a search sees, and how many searches there are."""

    n_race: int
    n_searches: int
    n_judging: int


SIZES = {"quick": Size(10, 4, 40), "small": Size(10, 40, 480), "full": Size(10, 9, 60)}


def study(bench: Bench, size: Size) -> Page:
    n_search = size.n_race * size.n_searches
    table = (
        _tables.resnet72(bench, n_search + size.n_judging, n_search)
        if bench.size == "full"
        else _tables.digits72(n_search)
    )
    held_out = table.held_out[:, -size.n_judging :]
    chosen = {name: _winners(table.seen, name, size) for name in CRITERIA}
    truth = {name: np.asarray(QUARTILES[name](held_out)) for name in JUDGED}
    rows = [_row(name, winners, chosen["q3"], truth) for name, winners in chosen.items()]
    first = {f"{name}: configuration {winners[0]}": held_out[winners[0]] for name, winners in chosen.items()}
    figure = boxed(first, "loss on fresh seeds", f"Winners of the first of {size.n_searches} searches, {table.name}")
    assert figure is not None
    findings = [
        f"In {np.mean([len({chosen[name][s] for name in CRITERIA}) for s in range(size.n_searches)]):.1f} different "
        f"configurations a search on average do the six criteria end (n = {size.n_searches} searches)."
    ]
    for name in CRITERIA[1:]:
        found = {what: of_rows(np.mean, own[chosen[name]] / own[chosen["mean"]]) for what, own in truth.items()}
        said = ", ".join(f"{what} {found[what]} {found[what].tells(1)}" for what in JUDGED)
        findings.append(f"{name}'s winner over mean's, on fresh seeds: {said}.")
    return Page(
        "Six criteria, six winners",
        "Does the statistic that steers a search matter for what one ends with?",
        "The paper compares mean, median, Q3, Q3+IQR, max and min; the robust ones choose configurations whose "
        "instances lie closer together. It gives no table.",
        figure,
        findings,
        {
            f"Fresh-seed statistics of the winners, mean over {size.n_searches} searches": rows,
            "The first search's winners": [{"criterion": name, **row(own)} for name, own in first.items()],
        },
        [
            f"Table: {table.name}. Searches are disjoint: {size.n_race} instances of each configuration. Judged by "
            f"{size.n_judging} instances of each that no search saw. Intervals: bootstrap over searches; the judging "
            "instances are common to all."
        ],
    )


def _winners(seen: Array, name: str, size: Size) -> Array:
    """Return the row that the criterion chooses in each search."""
    criterion = load("criteria", name)
    searches = np.split(seen, size.n_searches, axis=1)
    return np.asarray([int(np.argmin(criterion(losses))) for losses in searches])


def _row(name: str, winners: Array, reference: Array, truth: dict[str, Array]) -> dict[str, object]:
    found: dict[str, object] = {"criterion": name, "different winners": len(set(winners.tolist()))}
    found["same winner as q3"] = f"{np.mean(winners == reference):.0%}"
    for statistic, own in truth.items():
        found[f"{statistic} over the best one's"] = str(of_rows(np.mean, own[winners] / own.min()))
    return found


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
