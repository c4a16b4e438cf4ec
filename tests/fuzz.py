"""Damaged journals, experiments, `--set` strings and MLflow answers by the million: `python -m tests.fuzz --n 1000000`.

Each seed damages one thing and has raysearch read it: it succeeds, or an error of its own says why not, which the
command line, asked now and then, shows with exit code 2; none takes longer than LIMIT_S. Of the answers there are few:
one takes as long as fifty other things. `--into FILE` keeps what was done, to go on there. test_fuzz.py, where
Hypothesis looks for small examples, does some of them.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import json
import logging
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml

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
ODD_NUMBERS = (10**30, -(10**400), 2**31, 2**63, 1e308, -0.0)
ODD_TEXTS = ("inf", "nan", "", "a/b", "../../x", "\ud800", "q3", "é" * 200)
ODD: tuple[Any, ...] = (None, True, False, *range(-3, 4), *ODD_NUMBERS, *ODD_TEXTS)
LIMIT_S = 60.0
PART = 5_000
EACH_COMMAND, EACH_ANSWER = 40, 300
"""One in so many is read by the command line, and is an answer of MLflow's."""
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


class Hung(BaseException):
    """Something took longer than it may; no Exception, so that nothing handles it."""


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise Hung where what is inside takes longer."""

    def ring(number: int, frame: object) -> None:
        raise Hung(f"more than {seconds:g} s")

    start, before = time.monotonic(), signal.signal(signal.SIGALRM, ring)
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # of whoever had set it before: pytest's
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - start), 0.01))


class Held:
    """A disk with one file, in memory."""

    data = b""

    def open(self, path: Path, /) -> BinaryIO:
        return io.BytesIO(self.data)


class Fuzz:
    """Damages things in a folder, by the seed."""

    def __init__(self, folder: Path, journals: list[Path]) -> None:
        from fuzz_mlflow import Answers, command

        self.path, self.disk = folder / "journal.jsonl", Held()
        self.file, self.command = folder / "e.yaml", command
        self.journals = [path.read_bytes().splitlines(keepends=True) for path in journals]
        self.mean, self.halving = registry.load("criteria", "mean"), registry.load("rules", "halving", warmup=1)
        self.sound = from_data(SEARCH)
        self.answer = Answers(folder).answer

    def journal(self, g: random.Random) -> None:
        """Read a damaged journal, and tell it again."""
        self.disk.data = damaged_lines(g.choice(self.journals), g)
        history = list(entries(read(self.path, self.disk)))  # type: ignore[arg-type] - it is only read
        race = Race(lambda known: [], self.mean, self.halving, seed=experiment_of(history).seed)
        with np.errstate(all="ignore"):
            tell_again(history, race, Silent(), self.path.parent)
            progress(race, 1.0)

    def experiment(self, g: random.Random) -> None:
        """Build a search from a damaged experiment."""
        data = damaged(SEARCH, g)
        if g.randrange(EACH_COMMAND):
            build(from_data(data))
            return
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True).encode(errors="surrogatepass")
        self.file.write_bytes(text[: g.choice((len(text), g.randint(0, len(text))))])
        self._plan()

    def setting(self, g: random.Random) -> None:
        """Change an experiment by odd text."""
        text = "".join(g.choice(TEXT) for _ in range(g.randrange(20)))
        name = g.choice(("", "seed=", "space.level=", "race.confirm=", "rule=", "rule.warmup="))
        value: Any = g.choice((text, odd(g)))
        if g.randrange(EACH_COMMAND):
            self.sound.with_values({(name.rstrip("=") or text): value})
            return
        self.file.write_text(yaml.safe_dump(SEARCH))
        self._plan("--set", f"{name}{text}")

    def _plan(self, *more: str) -> None:
        if self.command("plan", str(self.file), *more):
            raise RaysearchError("said on the command line")


def fuzz(n: int, first: int = 0, broken: list[str] | None = None) -> Counter[str]:
    """Damage `n` things; raises whatever is no error of raysearch's own, with the seed in a note, or lists it."""
    told: Counter[str] = Counter()
    journals = sorted((Path(__file__).parent / "data" / "released").rglob("*.jsonl"))
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        one = Fuzz(Path(name), journals)
        kinds: list[Callable[[random.Random], None]] = [one.journal, one.experiment, one.setting]
        for seed in range(first, first + n):
            kind = kinds[seed % len(kinds)] if seed % EACH_ANSWER else one.answer
            try:
                with within(LIMIT_S):
                    kind(random.Random(seed))
                told[f"{kind.__name__} taken"] += 1
            except RaysearchError:
                told[f"{kind.__name__} refused"] += 1
            except (Exception, Hung) as error:
                error.add_note(f"fuzz seed {seed}")
                if broken is None:
                    raise
                broken.append(f"{seed}: {error!r:.500}")
            left = {path.name for path in Path(name).iterdir()} - {"e.yaml", "synced"}
            assert not left, f"fuzz seed {seed} wrote {left}"
    logging.disable(before)
    return told


def soak(n: int, into: Path) -> None:
    """Damage `n` things, a line of the file for each part of them: what breaks off goes on where it was."""
    done = [json.loads(line) for line in into.read_text().splitlines()] if into.exists() else []
    for first in range(sum(one["n"] for one in done), n, PART):
        start, broken = time.process_time(), list[str]()
        told = fuzz(min(PART, n - first), first, broken)
        done.append(
            {
                "n": told.total() + len(broken),
                "told": dict(told),
                "broken": broken,
                "cpu_s": round(time.process_time() - start, 1),
            }
        )
        with into.open("a") as file:
            file.write(json.dumps(done[-1]) + "\n")
    told, seconds = sum((Counter(one["told"]) for one in done), Counter()), sum(one["cpu_s"] for one in done)
    for text in (text for one in done for text in one["broken"]):
        print(f"fuzz seed {text}")
    print(f"{told.total():,} of {n:,}: {dict(told)}, {seconds:.0f} s of processor time")


def main() -> None:
    """Say what was taken and refused."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--n", type=int, default=1_000_000, help="number of damaged things")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    parser.add_argument("--into", type=Path, help="a file for what was done so far: what breaks off goes on there")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    if options.into:
        soak(options.n, options.into)
        return
    start = time.process_time()
    told = fuzz(options.n, options.first)
    print(f"{dict(told)}, {time.process_time() - start:.0f} s of processor time")


if __name__ == "__main__":
    sys.exit(main())
