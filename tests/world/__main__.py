"""`python -m tests.world`: carry worlds out, or one again with its story."""

from __future__ import annotations

import argparse
import inspect
import time
from collections import Counter
from typing import Any

from .crash_points import all_steps, die_at, pairs
from .many import many
from .planted import PLANTED
from .world import World


def broken(seed: int) -> bool:
    """Return whether a world comes to grief."""
    try:
        World(seed).run()
    except Exception:
        return True
    return False


def first_to_find(name: str, first: int, n: int) -> int | None:
    """Return the first seed whose world a planted bug breaks; that world is sound without it."""
    for seed in range(first, first + n):
        undo: list[tuple[Any, str, Any]] = []

        def patch(where: Any, what: str, value: Any, undo: list[Any] = undo) -> None:
            undo.append((where, what, inspect.getattr_static(where, what)))
            setattr(where, what, value)

        PLANTED[name](patch)
        try:
            found = broken(seed)
        finally:
            for where, what, value in reversed(undo):
                setattr(where, what, value)
        if found and not broken(seed):
            return seed
    return None


def exhaustive() -> None:
    """Let the driver die at every step of a search, and 1,000 times the one that takes over as well."""
    start = time.monotonic()
    n_steps, calm = all_steps()
    killed = [(step,) for step in range(n_steps)] + pairs(1000, n_steps)
    told = sum((die_at(steps, calm) for steps in killed), start=Counter[str]())
    print(f"{n_steps} steps, {dict(told)}, none broken, {time.monotonic() - start:.1f} s")


def main() -> None:
    """Say what was seen; exits with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seed", type=int, help="carry out this world only")
    parser.add_argument("--verbose", action="store_true", help="print its story")
    parser.add_argument("--n", type=int, default=10_000, help="number of worlds")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--planted", help="a bug of planted.py, or `all`: say which world finds it first")
    parser.add_argument("--exhaustive", action="store_true", help="every crash point of a search of 53 instances")
    parser.add_argument("--soak", type=int, help="one search of so many instances, with a fault after every hundred")
    options = parser.parse_args()
    if options.soak:
        from .soak import soak  # with MLflow, which takes seconds to import

        soak(options.soak)
        return
    if options.exhaustive:
        exhaustive()
        return
    if options.planted:
        for name in PLANTED if options.planted == "all" else [options.planted]:
            print(f'    "{name}": {first_to_find(name, options.first, options.n)},', flush=True)
        return
    if options.seed is not None:
        print(dict(World(options.seed, print if options.verbose else None).run()))
        return
    many(options.first, options.n, options.workers)


if __name__ == "__main__":
    main()
