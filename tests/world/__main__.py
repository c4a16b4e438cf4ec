"""`python -m tests.world`: carry worlds out, or one again with its story."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .world import World


def main() -> None:
    """Say what was seen; exits with 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.world", description=__doc__)
    parser.add_argument("--seed", type=int, help="carry out this world only")
    parser.add_argument("--verbose", action="store_true", help="print its story")
    parser.add_argument("--n", type=int, default=10_000, help="number of worlds")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    if options.seed is not None:
        print(dict(World(options.seed, print if options.verbose else None).run()))
        return
    told: Counter[str] = Counter()
    n_bad, start = 0, time.monotonic()
    for seed in range(options.first, options.first + options.n):
        try:
            told += World(seed).run()
        except Exception as error:
            n_bad += 1
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    seconds = time.monotonic() - start
    print(f"{dict(told)}, {n_bad} broken, {seconds:.1f} s, {options.n / seconds:.0f} worlds/s")
    sys.exit(bool(n_bad))


if __name__ == "__main__":
    main()
