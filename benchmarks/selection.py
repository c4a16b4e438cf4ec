"""Which rule finds the best configuration with how few instances, and are its claims true?

    python benchmarks/selection.py            the full protocol: hours on two cores; peers need `make bench-peers`
    python benchmarks/selection.py --quick    a smoke test of everything in a minute or two
    python benchmarks/selection.py --into FILE ...    replicates found in FILE are not played again

Truth is exact or from recorded instances the rule never saw; every replicate has a fresh population and fresh losses.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import _selection_peers as peers
import _selection_tables as tables
import _selection_workers as workers
from _selection_certificates import CRITERIA, DRAWS, Claim, claim, print_certificates
from _selection_families import FAMILIES
from _selection_policies import OWN, PEERS, Outcome, Score, budgets, score

LARGE = 1000
"""Families of more configurations get fewer replicates, and peers whose cost grows with their square stay out."""
HUGE = 2000
"""Families of more configurations are too large to be handed to the peers' own environment."""


Task = tuple[str, int, bool, tuple[str, ...]]
"""Family, replicate, whether the peers of our process play too, and who of all plays."""


def _replicate(task: Task) -> list[Score]:
    name, replicate, with_peers, wanted = task
    family = FAMILIES[name]
    chosen = dict(OWN)
    if with_peers:
        slow = ("optuna_wilcoxon", "ray_repeater") if family.n_configurations > LARGE else ()
        chosen |= {name: policy for name, policy in PEERS.items() if name not in slow}
    return score(family, replicate, {name: policy for name, policy in chosen.items() if name in wanted})


def _played(pool: ProcessPoolExecutor, tasks: list[Task], into: Path | None) -> list[Score]:
    """Play the replicates; with a file, those that it holds are read, and each other one is added as it ends."""
    known = {}
    for line in into.read_text().splitlines() if into and into.exists() else ():
        task, scores = json.loads(line)
        known[json.dumps(task)] = [Score(**one | {"outcome": Outcome(**one["outcome"])}) for one in scores]
    found = [score for task in tasks for score in known.get(json.dumps(task), ())]
    fresh = [task for task in tasks if json.dumps(task) not in known]
    for task, scores in zip(fresh, pool.map(_replicate, fresh, chunksize=1 if into else 2), strict=True):
        found += scores
        if into:
            with into.open("a") as file:
                file.write(json.dumps([task, [asdict(one) for one in scores]]) + "\n")
    return found


def _foreign(python: Path, name: str, replicates: range) -> list[Score]:
    """Play the peers that live in their own environment; says on the table why one is missing."""
    family = FAMILIES[name]
    scores: list[Score] = []
    for peer in peers.QUICK if family.n_configurations > LARGE else peers.FOREIGN:
        answers = peers.foreign(python, peer, family, budgets(family), replicates)
        if isinstance(answers, str):
            print(f"({name}: {peer} {answers})", flush=True)
            continue
        for replicate, run in zip(replicates, answers, strict=True):
            table = family.table(replicate)
            for setting, n_instances, row in run:
                regret = table.regret(row)
                outcome = Outcome(peers.NAMES[peer], setting, n_instances, row)
                scores.append(Score(name, replicate, outcome, regret == 0, regret <= family.delta, regret))
    return scores


def _simulate(task: tuple[str, int, str, int, float, bool]) -> workers.Run:
    name, n_workers, label, replicate, of_configurations, longest_first = task
    family = FAMILIES[name]
    rule, arguments, ahead = workers.policies(family)[label]
    return workers.play(family, rule, arguments, ahead, n_workers, replicate, of_configurations, longest_first)


def _clusters(
    pool: ProcessPoolExecutor, options: argparse.Namespace, of_configurations: float = 0.0, longest_first: bool = False
) -> dict[tuple[str, int, str], workers.Run]:
    runs = {}
    for name, n_workers in itertools.product(options.simulate, options.workers):
        large = FAMILIES[name].n_configurations > LARGE
        n_replicates = min(3, options.simulated) if large else options.simulated
        for label in workers.policies(FAMILIES[name]):
            if options.simulated_rules and label not in options.simulated_rules:
                continue
            tasks = [
                (name, n_workers, label, replicate, of_configurations, longest_first)
                for replicate in range(n_replicates)
            ]
            runs[name, n_workers, label] = workers.mean(list(pool.map(_simulate, tasks)))
    return runs


def _claims(pool: ProcessPoolExecutor, n_replicates: int) -> list[Claim]:
    """Race every family by every criterion; a twentieth of the races where the rule states no confidence."""
    tasks = [
        (name, criterion, replicate)
        for name, criterion in itertools.product(DRAWS, CRITERIA)
        for replicate in range(n_replicates if criterion in ("median", "mean", "q3") else max(n_replicates // 20, 2))
    ]
    return list(pool.map(claim, tasks, chunksize=4))


def main() -> None:
    """Run the protocol and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few replicates: does everything run?")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--no-families", action="store_true", help="simulated workers only")
    parser.add_argument("--policies", nargs="+", choices=[*OWN, *PEERS], default=[*OWN, *PEERS], help="of our process")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--large-replicates", type=int, default=100, help="of families of more than 1,000")
    parser.add_argument("--first", type=int, default=0, help="replicate: 24 for others than those tuned on")
    parser.add_argument("--peer-replicates", type=int, default=100)
    parser.add_argument("--simulate", nargs="*", choices=FAMILIES, default=["cifar72", "calo270", "calo6912"])
    parser.add_argument("--workers", type=int, nargs="+", default=list(workers.WORKERS), help="simulated")
    parser.add_argument(
        "--simulated", type=int, default=40, help="replicates; 3 at most of families of more than 1,000"
    )
    parser.add_argument("--simulated-rules", nargs="+", help="labels of _selection_workers.policies; all by default")
    parser.add_argument("--durations", type=float, help="also: coefficient of variation between configurations")
    parser.add_argument("--peers-python", type=Path, default=peers.PYTHON, help="of the peers' own environment")
    parser.add_argument("--certificates", type=int, default=100, help="races by family and criterion; 0 for none")
    parser.add_argument("--only-certificates", action="store_true")
    parser.add_argument("--into", type=Path, metavar="FILE", help="of JSON lines: one replicate each, to go on from")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    if options.quick:
        options.replicates, options.large_replicates, options.peer_replicates = 6, 2, 3
        options.certificates, options.simulated = 2, 2
    if options.certificates:
        with ProcessPoolExecutor(options.processes) as pool:
            print_certificates(_claims(pool, options.certificates))
    if options.only_certificates:
        return
    scores: list[Score] = []
    with ProcessPoolExecutor(options.processes) as pool:
        for name in [] if options.no_families else options.families:
            start = time.perf_counter()
            large = FAMILIES[name].n_configurations > LARGE
            n = options.large_replicates if large else options.replicates
            wanted = tuple(options.policies)
            replicates = range(options.first, options.first + n)
            tasks = [(name, one, one - options.first < options.peer_replicates, wanted) for one in replicates]
            found = _played(pool, tasks, options.into)
            if FAMILIES[name].n_configurations <= HUGE:
                found += _foreign(options.peers_python, name, replicates[: options.peer_replicates])
            scores += found
            if found:
                tables.print_family(name, tables.grouped(found)[name])
            print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
        families = tables.grouped(scores)
        tables.print_claims(families)
        runs = _clusters(pool, options)
        tables.print_workers(runs)
        for longest_first in (False, True) if options.durations else ():
            order = "longest first" if longest_first else "in the pool's order"
            print(f"\n(durations of configurations vary by {options.durations}, {order})")
            tables.print_workers(_clusters(pool, options, options.durations, longest_first))
    tables.print_targets(tables.targets(families, runs))


if __name__ == "__main__":
    main()
