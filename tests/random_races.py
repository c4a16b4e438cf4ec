"""Random races with everything that can go wrong in them: `python tests/random_races.py --n 30000` drives so many.

A seed gives a rule, a criterion, losses with ties, holes of failures and infinities, waves, blocks, retries, instances
started ahead, screening, drivers that die anywhere, and what comes after the end: failures taken back, another rule,
more configurations. Each must end, and where the setting promises it, with the decisions of one undisturbed worker.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from races import Memory, image, make_race, pool_of, result_of

from raysearch.race.screening import Screening
from raysearch.records import TrialRequest

MOST_STEPS = 20_000
CRITERIA = ("mean", "median", "q3", "q3_plus_iqr", "max", "std", "iqr", "cvar")


@dataclass
class Setting:
    """A race, drawn from a seed."""

    losses: np.ndarray
    race: dict[str, Any]
    wave: int
    n_workers: int
    failing: tuple[int, ...]
    kill: float
    screen: bool
    promised: bool = field(init=False)

    def __post_init__(self) -> None:
        name, arguments = self.race["rule"]
        windowed = arguments.get("window") is not None and not self.race["ahead"]
        asynchronous = name == "top_two" and arguments.get("batch") is None and not windowed
        self.promised = not asynchronous and not self.screen

    def fails(self, key: Any, attempt: int) -> bool:
        """Which instances crash, and how often, is a property of the instance."""
        return attempt <= self.failing[(int(key.configuration_id, 16) + key.seed) % len(self.failing)]

    def propose(self, outcomes: Any) -> Any:
        every = pool_of(len(self.losses))
        return every[len(outcomes) : len(outcomes) + self.wave]


def draw(seed: int) -> Setting:
    """Return the race of a seed."""
    g = np.random.default_rng(seed)
    n = int(g.integers(1, 13))
    losses = 1 + 0.3 * g.normal(size=(n, 1)) + g.choice([0.01, 0.1, 0.3]) * g.normal(size=(n, 160))
    kind = g.choice(
        ["plain", "coarse", "diverging", "first columns diverge", "all diverge"], p=[0.4, 0.2, 0.2, 0.15, 0.05]
    )
    if kind == "coarse":
        losses = np.round(losses, 1)
    elif kind == "diverging":
        losses = np.where(g.random(losses.shape) < g.choice([0.05, 0.3, 0.7]), np.nan, losses)
    elif kind == "first columns diverge":
        losses[:, g.integers(0, 3) : g.integers(1, 5)] = np.nan
    elif kind == "all diverge":
        losses[:] = np.nan
    batch = None if g.random() < 0.3 else int(g.integers(1, 10))
    budget = None if g.random() < 0.4 else int(n + g.integers(0, 60))
    rules = {
        "halving": {"warmup": int(g.integers(1, 5))},
        "exhaustive": {"n_instances": int(g.integers(1, 6))},
        "significance": {"warmup": int(g.integers(2, 4)), "max_instances": int(g.integers(4, 9))},
        "sequential_halving": {"budget": int(n + g.integers(0, 60))},
        "top_two": {"certify": 3, "cap": 10, "batch": batch, "budget": budget, "keep": int(g.choice([2, 4, 256]))},
    }
    window = np.random.default_rng(seed + 2**43).choice([0, 1, 3, 8, 20])
    rules["top_two"]["window"] = int(window) or None
    name = str(g.choice(list(rules), p=[0.2, 0.1, 0.15, 0.15, 0.4]))
    return Setting(
        losses=losses,
        race={
            "rule": (name, rules[name]),
            "criterion": str(g.choice(CRITERIA)),
            "confirm": int(g.integers(0, 4)),
            "block": int(g.integers(1, 4)),
            "retries": int(g.integers(0, 3)),
            "ahead": bool(g.random() < 0.3),
            "seed": int(g.integers(0, 2**40)),
        },
        wave=int(g.integers(1, n + 1)) if g.random() < 0.4 else n,
        n_workers=int(g.integers(1, 12)),
        failing=tuple(int(x) for x in g.choice([0, 0, 0, 1, 9], size=7)) if g.random() < 0.6 else (0,),
        kill=float(g.choice([0.0, 0.01, 0.1])),
        screen=bool(g.random() < 0.15),
    )


class Driven:
    """A race that is carried out by drivers that may die, each going on from the journal of those before it."""

    def __init__(self, setting: Setting, **changed: Any) -> None:
        self.setting, self.changed, self.journal = setting, changed, Memory()
        self.n_kills = 0
        self.race = self._new()

    def _new(self) -> Any:
        settings = {**self.setting.race, **self.changed}
        if self.setting.screen:
            settings["screening"] = Screening(n_startup=2)
        race = make_race(self.setting.losses, journal=self.journal, propose=self.setting.propose, **settings)
        return race

    def take_over(self) -> None:
        """Let a new driver go on where the last one died."""
        before = image(self.race)
        self.n_kills += 1
        self.race = self._new()
        self.race.replay(self.journal.entries)
        assert image(self.race) == before, "the state that was replayed is not the one that was lived"
        self.race.requeue_running()

    def drive(self, n_workers: int, g: np.random.Generator | None, kill: float = 0.0) -> None:
        """Carry it out to its end; without a generator in order, and nobody dies."""
        running: list[Any] = []
        for _ in range(MOST_STEPS):
            if kill and g is not None and g.random() < kill:
                self.take_over()
                running = []
            self.race.begin(n_workers)
            free = n_workers - len(running)
            answer = self.race.ask(free) if free > 0 else []
            trials = [event for event in answer if isinstance(event, TrialRequest)]
            running += [(key, block.cutoffs) for block in trials for key in block.keys]
            if not trials and not running:
                assert self.race.done
                return
            key, cutoffs = running.pop(int(g.integers(len(running))) if g is not None else 0)
            self._end(key, cutoffs, g)
        raise AssertionError(f"no end after {MOST_STEPS} steps")

    def _end(self, key: Any, cutoffs: Any, g: np.random.Generator | None) -> None:
        race = self.race
        if not race.state.awaited(key) and g is not None and g.random() < 0.5:
            return  # its training was ended in time
        if self.setting.fails(key, race.state.attempts[key] + 1):
            race.fail(key, "crashed")
        else:
            result = result_of(race, key, self.setting.losses)
            curve = (result.loss,) * 4
            screened = [epoch for epoch, cutoff in sorted(cutoffs.items()) if not result.loss <= cutoff]
            if screened:
                race.screen_out(key, curve[: screened[0]], cutoffs[screened[0]], 0.1, "")
            else:
                race.tell(type(result)(key, result.loss, result.status, curve))


def decisions(race: Any) -> dict[str, Any]:
    """Return what must not depend on who carried a race out: cuts, verdict, and the losses that count."""
    state = race.state
    counted = [np.nan_to_num(state.pool.judged_losses(row), nan=-1.0).tolist() for row in range(len(state.pool.rows))]
    return {
        "eliminations": state.eliminations,
        "verdict": state.verdict,
        "outcomes": [(o.configuration.id, o.losses, o.eliminated) for o in state.pool.outcomes()],
        "counted": [
            row[: len(row) - next((i for i, x in enumerate(reversed(row)) if x != -1.0), len(row))] for row in counted
        ],
        "confirmation": {index: result.loss for index, result in sorted(state.confirmation.items())},
    }


def run(seed: int) -> Counter[str]:
    """Drive the race of a seed, and what may come after it; raises AssertionError or StuckError where it goes wrong."""
    setting, g = draw(seed), np.random.default_rng(seed + 2**40)
    told = Counter({"races": 1})
    disturbed = Driven(setting)
    disturbed.drive(setting.n_workers, g, setting.kill)
    if setting.promised:
        calm = Driven(setting, ahead=False)
        calm.drive(1, None)
        assert decisions(disturbed.race) == decisions(calm.race), "another outcome than that of one undisturbed worker"
        told["compared"] += 1
    what = g.choice(["nothing", "retry", "rule", "extend"])
    if what == "retry" and disturbed.race.state.failed:
        setting.failing = (0,) if g.random() < 0.7 else setting.failing
        disturbed.take_over()
        disturbed.race.retry_failed()
        told["retried"] += 1
    elif what == "rule":
        disturbed.changed["rule"] = draw(seed + 2**41).race["rule"]
        disturbed.take_over()
        disturbed.race.reopen(whole_pool=True)
        told["other rule"] += 1
    elif what == "extend":
        more = np.random.default_rng(seed + 2**42).normal(1, 0.3, size=(int(g.integers(1, 5)), 160))
        setting.losses = np.vstack([setting.losses, more])
        disturbed.take_over()
        disturbed.race.reopen(whole_pool=False)
        told["extended"] += 1
    disturbed.drive(setting.n_workers, g, setting.kill)
    told["killed drivers"] += disturbed.n_kills
    return told


def main() -> None:
    """Drive many races and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=30_000, help="number of races")
    parser.add_argument("--first", type=int, default=0, help="seed of the first")
    options = parser.parse_args()
    told: Counter[str] = Counter()
    bad: list[int] = []
    start = time.monotonic()
    for seed in range(options.first, options.first + options.n):
        try:
            told += run(seed)
        except Exception as error:
            bad.append(seed)
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:300]}", flush=True)
    seconds = time.monotonic() - start
    print(f"{dict(told)}, {len(bad)} stuck or differing, {seconds:.0f} s")
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
