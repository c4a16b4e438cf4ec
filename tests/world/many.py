"""Many worlds, over several processes."""

from __future__ import annotations

import contextlib
import gc
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from .world import World, logged_nothing

PART = 250
"""Worlds of a process at a time."""


def carry_out(seeds: range) -> tuple[Counter[str], list[str], float]:
    """Return what these worlds told, those that were broken, and the seconds of processor time that they took."""
    told: Counter[str] = Counter()
    bad, start = [], time.process_time()
    with logged_nothing():
        for seed in seeds:
            try:
                told += World(seed).run()
            except Exception as error:
                bad.append(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}")
    return told, bad, time.process_time() - start


def collect_seldom() -> None:
    """Let the garbage collector pass over modules, and look seldom: worlds make few cycles, half a GiB until then."""
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)


def many(first: int, n: int, n_workers: int) -> None:
    """Carry `n` worlds out over so many processes; exits with 1 where one is broken."""
    told: Counter[str] = Counter()
    n_bad, cpu_s, start = 0, 0.0, time.monotonic()
    parts = [range(at, min(at + PART, first + n)) for at in range(first, first + n, PART)]
    with contextlib.ExitStack() as stack:
        if n_workers > 1:
            pool = stack.enter_context(ProcessPoolExecutor(n_workers, get_context("spawn"), collect_seldom))
        for one, bad, seconds in (pool.map if n_workers > 1 else map)(carry_out, parts):
            told += one
            cpu_s += seconds
            n_bad += len(bad)
            for text in bad:
                print(text, flush=True)
    seconds = time.monotonic() - start
    speed = f"{n / seconds:.0f} worlds/s, {n / cpu_s:.0f} per second of processor time"
    print(f"{dict(told)}, {n_bad} broken, {seconds:.1f} s, {speed}")
    sys.exit(bool(n_bad))
