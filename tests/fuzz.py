"""Damaged journals, experiment files and `--set` strings by the million: `python -m tests.fuzz --n 1000000`.

Each seed damages one thing and has raysearch read it: it succeeds, or an error of its own says why not, which the
command line shows with exit code 2. test_fuzz.py, where Hypothesis looks for small examples, does some of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from raysearch import registry
from raysearch.driver.resume import experiment_of
from raysearch.driver.run import build
from raysearch.driver.sync import tell_again
from raysearch.errors import RaysearchError
from raysearch.experiment.experiment import from_data
from raysearch.race.race import Race
from raysearch.race.verdict import progress
from raysearch.storage.decoding import entries
from raysearch.storage.journal import read
from raysearch.tracking.silent import Silent

SEARCH: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "workload": {"name": "synthetic", "epochs": 2},
    "space": {"level": [0.1, 0.2, 0.3], "bad": {"choice": [0.1], "when": {"level": [0.1]}}},
    "constraints": {},
    "sampler": {"name": "random", "n_configurations": 2},
    "criterion": {"name": "quantile", "q": 0.8},
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 2, "retries": 1, "screen": {"rule": "median", "first_epoch": 1}},
    "execution": "local",
    "tracking": None,
}
ODD = (None, True, -1, 0, 2, 10**30, -(10**400), 2**63, 1e308, -0.0, "inf", "nan", "", "a/b", "../../x", "\ud800", "q3")
TEXT = "ab:1.e-+ \n\t{}[],'\"|>*&!?#%@`\\\x00é~<="


def odd(g: random.Random) -> Any:
    """Return a value that few expect."""
    return g.choice((g.choice(ODD), [g.choice(ODD)], {g.choice(("name", "low", "x")): g.choice(ODD)}))


def damaged(value: Any, g: random.Random) -> Any:
    """Return a copy of plain data with one value in it replaced, removed or renamed."""
    whole = here = copy.deepcopy(value)
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return whole
        key = g.choice(keys)
        if isinstance(here[key], dict | list) and here[key] and g.random() < 0.8:
            here = here[key]
            continue
        kind = g.randrange(4)
        if kind == 0 and isinstance(here, dict):
            del here[key]
        elif kind == 1 and isinstance(here, dict):
            here[str(g.choice(ODD))] = here.pop(key)
        else:
            here[key] = odd(g)
        return whole


def damaged_lines(lines: list[bytes], g: random.Random) -> bytes:
    """Return a journal with a line damaged, lost, doubled or moved, or with bytes cut or changed."""
    lines = list(lines)
    at = g.randrange(len(lines))
    kind = g.randrange(4)
    if kind == 0:
        lines[at] = json.dumps(damaged(json.loads(lines[at]), g)).encode() + b"\n"
    elif kind == 1:
        line = lines.pop(at)
        lines[g.randrange(len(lines) + 1) : 0] = [line] * g.randrange(3)
    elif kind == 2:
        data = bytearray(b"".join(lines))
        for _ in range(g.randint(1, 4)):
            place = g.randrange(len(data))
            data[place : place + g.randrange(8)] = g.randbytes(g.randrange(4))
        return bytes(data)
    else:
        lines = lines[:at]
    return b"".join(lines)


class Fuzz:
    """Damages things in a folder, by the seed."""

    def __init__(self, folder: Path, journals: list[Path]) -> None:
        self.path = folder / "journal.jsonl"
        self.journals = [path.read_bytes().splitlines(keepends=True) for path in journals]

    def journal(self, g: random.Random) -> None:
        """Read a damaged journal, and tell it again."""
        self.path.write_bytes(damaged_lines(g.choice(self.journals), g))
        history = list(entries(read(self.path)))
        mean, halving = registry.load("criteria", "mean"), registry.load("rules", "halving", warmup=1)
        race = Race(lambda known: [], mean, halving, seed=experiment_of(history).seed)
        with np.errstate(all="ignore"):
            tell_again(history, race, Silent(), self.path.parent)
            progress(race, 1.0)

    def experiment(self, g: random.Random) -> None:
        """Build a search from a damaged experiment."""
        build(from_data(damaged(SEARCH, g)))

    def setting(self, g: random.Random) -> None:
        """Change an experiment by odd text."""
        text = "".join(g.choice(TEXT) for _ in range(g.randrange(20)))
        name = g.choice(("", "seed=", "space.level=", "race.confirm=", "rule=", "rule.warmup="))
        value: Any = g.choice((text, odd(g)))
        from_data(SEARCH).with_values({(name.rstrip("=") or text): value})


def fuzz(n: int, first: int = 0) -> Counter[str]:
    """Damage `n` things; raises whatever is no error of raysearch's own, with the seed in a note."""
    told: Counter[str] = Counter()
    journals = sorted((Path(__file__).parent / "data" / "released").rglob("*.jsonl"))
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        one = Fuzz(Path(name), journals)
        kinds: list[Callable[[random.Random], None]] = [one.journal, one.experiment, one.setting]
        for seed in range(first, first + n):
            kind = kinds[seed % len(kinds)]
            try:
                kind(random.Random(seed))
                told[f"{kind.__name__} taken"] += 1
            except RaysearchError:
                told[f"{kind.__name__} refused"] += 1
            except BaseException as error:
                error.add_note(f"fuzz seed {seed}")
                raise
            left = {path.name for path in Path(name).iterdir()} - {"journal.jsonl"}
            assert not left, f"fuzz seed {seed} wrote {left}"
    logging.disable(before)
    return told


def main() -> None:
    """Say what was taken and refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="number of damaged things")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    start = time.process_time()
    told = fuzz(options.n, options.first)
    print(f"{dict(told)}, {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
