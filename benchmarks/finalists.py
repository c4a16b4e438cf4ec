"""What does it add to each rule to confirm several finalists on the same fresh seeds, and let the best of them win?

    python benchmarks/finalists.py            minutes on two cores
    python benchmarks/finalists.py --quick    does everything run?

Truth as in `selection.py`: exact, or from recorded instances that no race ever saw. Fresh seeds are columns of a table
that its race does not see. Instances count the race's and all that confirm; a longer race at that cost stands beside.
"""

from __future__ import annotations

import argparse
import os
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from _selection_families import FAMILIES, Family, Table

from raysearch import registry
from raysearch.race.finalists import Contest
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceResult, Phase, TrialRequest

CONFIRMED = ((1, 25), (1, 100), (4, 25), (8, 25), (8, 100))
"""Finalists, and fresh instances of each."""
RECORDED = ((1, 20), (4, 20), (8, 20))
"""Of a table that holds 40 instances of each configuration: half of them are fresh."""
Score = tuple[str, str, int, int, int, bool, float]


def rules(family: Family, table: Table) -> Iterator[tuple[str, Any]]:
    """Yield the rules by what they are called: cheap and dear settings of each."""
    n = len(table.losses)
    for warmup in (1, 2, 5):
        yield f"halving, warmup={warmup}", registry.load("rules", "halving", warmup=warmup)
    for share in (1.75, 3):
        yield f"sequential_halving, {share:g} each", registry.load("rules", "sequential_halving", budget=int(share * n))
    yield "top_two", registry.load("rules", "top_two", delta=family.delta, cap=min(100, family.n_instances // 2))
    if table.has_structure:
        yield "surrogate", registry.load("rules", "surrogate", delta=family.delta, cap=family.n_instances // 2)


def play(task: tuple[str, int]) -> list[Score]:
    """Race a table by every rule, then confirm in every way."""
    name, replicate = task
    family = FAMILIES[name]
    table = family.table(replicate)
    pool = [
        Configuration.of({"row": row, **(p or {})})
        for row, p in enumerate(table.parameters or [{}] * len(table.losses))
    ]
    if table.has_structure:  # a rule that learns must not learn from the number of a row
        pool = [Configuration.of(parameters) for parameters in table.parameters]
    rows = {configuration.id: row for row, configuration in enumerate(pool)}
    scores = []
    for label, rule in rules(family, table):
        race = Race(lambda outcomes: [] if outcomes else pool, family.measure(), rule, seed=replicate)
        race.begin(1)
        drive(race, table, rows)
        n_raced = race.state.counts["asked"]
        for n_finalists, n_fresh in RECORDED if family.n_instances < 200 else CONFIRMED:
            race.contest = Contest(race.state, race.criterion, n_fresh, n_finalists)
            drive(race, table, rows)
            confirmed = race.contest.finalists()
            n = n_raced + (sum(one.fresh.n_instances for one in confirmed) if n_finalists > 1 else n_fresh)
            assert race.state.winner is not None
            regret = table.regret(race.state.winner)
            scores.append((name, label, n_finalists, n_fresh, n, regret <= family.delta, regret))
    return scores


def drive(race: Race, table: Table, rows: dict[str, int]) -> None:
    """Carry a race out; the second half of a table's columns is fresh, and comes again where there are too few."""
    half = table.losses.shape[1] // 2
    while not race.done:
        for request in [event for event in race.ask() if isinstance(event, TrialRequest)]:
            for key in request.keys:
                phase, index = race.state.seeds.index(key.seed)
                column = index % half + (half if phase is Phase.CONFIRMATION else 0)
                race.tell(InstanceResult.of(key, float(table.losses[rows[key.configuration_id], column])))


def main() -> None:
    """Print one table per family."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few replicates")
    names = ["cifar72", "noisy_rivals", "calo270", "digits_1728"]
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=names)
    parser.add_argument("--replicates", type=int, default=100)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    n_replicates = 2 if options.quick else options.replicates
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.families:
            groups: dict[tuple[str, int, int], list[Score]] = defaultdict(list)
            for scores in pool.map(play, [(name, replicate) for replicate in range(n_replicates)]):
                for score in scores:
                    groups[score[1:4]].append(score)
            family = FAMILIES[name]
            print(f"\n### {name}: {family.criterion}, within {family.delta:.0%}, {n_replicates} replicates\n")
            print("| rule | finalists x fresh | instances | P(within delta) | mean regret | worst |")
            print("|---|---|---|---|---|---|")
            for (label, n_finalists, n_fresh), group in groups.items():
                n, within, regret = (np.array([score[i] for score in group], dtype=float) for i in (4, 5, 6))
                worst = f"{100 * regret.mean():.2f} % | {100 * regret.max():+.1f} %"
                print(
                    f"| {label} | {n_finalists} x {n_fresh} | {n.mean():.0f} | {within.mean():.3f} | {worst} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
