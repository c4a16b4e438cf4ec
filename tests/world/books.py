"""The books that an auditor keeps of a search: what each line of its journal may say, after those before it."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

Key = tuple[str, int]
OWN = {
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(),
    "median": lambda x: (sorted(x)[(len(x) - 1) // 2] + sorted(x)[len(x) // 2]) / 2,
}
"""Criteria in words of the auditor's own."""


class Broken(AssertionError):
    """A promise is broken."""


def hold(fact: bool, promise: str, *shown: Any) -> None:
    if not fact:
        raise Broken(f"{promise}: {', '.join(map(str, shown))}"[:2000])


class Books:
    """Takes in the lines of a journal as they come, and shares no code with what wrote them."""

    def __init__(self, criterion: str, retries: int) -> None:
        self.criterion, self.retries = OWN.get(criterion), retries
        self.lines: list[dict[str, Any]] = []
        self.told: dict[Key, dict[str, Any]] = {}
        self.flying: set[Key] = set()
        self.queue: set[Key] = set()
        self.attempts: Counter[Key] = Counter()
        self.stopped: set[Key] = set()
        self.taken_back: set[Key] = set()
        self.order: list[str] = []
        """Configurations in the order of the pool."""
        self.members: set[str] = set()
        self.out: set[str] = set()
        self.screened: set[str] = set()
        self.dropped: set[str] = set()
        self.paused = False
        self.columns: dict[str, list[int]] = {"race": [], "confirmation": []}
        self.asked: dict[tuple[str, str], list[int]] = {}
        self.round, self.before, self.deepest, self.wave = 1, 0, 0, 0
        self.window = 0
        self.leader: str | None = None
        self.finalists: list[str] = []
        self.separated: dict[str, int] = {}
        self.won: str | None = None
        self.final = False
        self.rule: tuple[str, dict[str, Any]] = ("", {})
        self.reopened, self.over, self.n_asked = False, False, 0

    def enter(self, event: dict[str, Any]) -> None:
        """Take in the next line."""
        hold(not self.lines or self.lines[0]["event"] == "start", "the first line begins a search")
        self.lines.append(event)
        getattr(self, f"_on_{event['event']}")(event)

    def _on_start(self, e: dict[str, Any]) -> None:
        hold(not self.lines[:-1], "a search begins once")
        self._on_resume(e)

    def _on_resume(self, e: dict[str, Any]) -> None:
        self.rule = (e["experiment"]["rule"][0], e["experiment"]["rule"][1])
        self.confirm, self.over = e["experiment"]["confirm"], False
        self.n_finalists = e["experiment"].get("finalists", 1)

    def _on_window(self, e: dict[str, Any]) -> None:
        hold(e["width"] >= 0 and e["width"] != self.window, "a window is noted when it changes", e)
        self.window = e["width"]

    def _on_pool(self, e: dict[str, Any]) -> None:
        ids = [id_ for id_, _ in e["configurations"]]
        hold(not set(ids) & set(self.order) and len(set(ids)) == len(ids) > 0, "a wave is of new configurations", ids)
        self.order += ids
        self.members = {*self.same - self.dropped, *ids} if self.leader is not None else set(ids)
        self.out -= self.members
        self.wave, self.before, self.round = self.wave + 1, self.deepest, 1
        self.leader, self.final = None, False
        self._end_contest()

    def _on_decide(self, e: dict[str, Any]) -> None:
        hold(e["round"] >= 1 and set(e["batch"]) <= self.members - self.out, "a decision is about survivors", e)
        hold(e["round"] >= self.round, "rounds go on", e, self.round)
        self.round = e["round"]

    def _on_ask(self, e: dict[str, Any]) -> None:
        id_, phase = e["configuration"], e["phase"]
        hold(not self.over, "nothing is asked for when all is done")
        hold(not self.paused, "nothing is asked for in a pause")
        if phase == "race":
            hold(self.leader is None, "no race instance is asked for after the verdict", e)
            hold(id_ in self.members - self.out, "an eliminated configuration trains no more", e)
        else:
            hold(self.final and id_ in self.contenders, "only the winner and finalists are confirmed", e)
        for seed in e["seeds"]:
            key = (id_, seed)
            hold(key not in self.told, "nothing is trained again that was told", key)
            hold(key not in self.flying, "nothing is trained twice at a time", key)
            self._hand_out(key, phase)
            self.flying.add(key)

    def _hand_out(self, key: Key, phase: str) -> None:
        if key in self.queue:
            self.queue.discard(key)
            return
        self.taken_back.discard(key)
        self.n_asked += key not in self.stopped
        self.stopped.discard(key)
        mine, common = self.asked.setdefault((phase, key[0]), []), self.columns[phase]
        if key[1] in mine:
            return
        if len(mine) == len(common):
            hold(key[1] not in common, "no two instances share a seed", key)
            common.append(key[1])
        hold(common[len(mine)] == key[1], "column s is the same seed for every configuration", key)
        mine.append(key[1])
        hold(phase == "race" or len(mine) <= self.confirm, "no more confirmation than is wanted", len(mine))

    def _end(self, e: dict[str, Any]) -> Key:
        key = (e["configuration"], e["seed"])
        hold(key in self.flying | self.queue, "only what is awaited ends", e)
        self.flying.discard(key)
        self.queue.discard(key)
        return key

    def _on_tell(self, e: dict[str, Any]) -> None:
        key = self._end(e)
        hold(key not in self.told, "an instance is told once", key)
        finite = isinstance(e["loss"], int | float)
        hold(finite == (e["status"] == "COMPLETE"), "a loss that is not finite is none", e)
        if e["status"] == "FAILED":
            hold(self.attempts[key] == self.retries + 1, "an instance fails for good after all retries", e)
            hold(e["attempt"] == self.attempts[key], "the attempt is the number of the try", e)
        else:
            hold(e["attempt"] == self.attempts[key] + 1, "the attempt is the number of the try", e)
        self.told[key] = e

    def _on_failure(self, e: dict[str, Any]) -> None:
        key = (e["configuration"], e["seed"])
        hold(key in self.flying, "only what runs crashes", e)
        self.attempts[key] += 1
        hold(e["attempt"] == self.attempts[key] <= self.retries + 1, "attempts are counted", e)
        self.flying.discard(key)
        self.queue.add(key)

    def _on_lost(self, e: dict[str, Any]) -> None:
        key = (e["configuration"], e["seed"])
        hold(key in self.flying, "only what runs is lost", e)
        self.flying.discard(key)
        self.queue.add(key)

    def _on_stop(self, e: dict[str, Any]) -> None:
        key = self._end(e)
        self.stopped.add(key)
        raced = key[1] in self.columns["race"]
        races = key[0] in self.members - self.out
        obsolete = (self.leader is not None or not races) if raced else key[0] not in self.contenders
        hold(obsolete, "what is still needed is not stopped", e)

    def _on_retry(self, e: dict[str, Any]) -> None:
        key = (e["configuration"], e["seed"])
        hold(self.told.get(key, {}).get("status") == "FAILED", "only failures are taken back", e)
        del self.told[key]
        self.attempts.pop(key, None)
        self.n_asked -= 1
        self.taken_back.add(key)
        if not self._is_race(key[1]):
            self.separated, self.won = {}, None

    def _on_screen(self, e: dict[str, Any]) -> None:
        key = self._end(e)
        hold(key[1] == self.columns["race"][0], "only first instances are screened", e)
        last = float(e["curve"][-1])
        hold(not last <= e["cutoff"], "who is screened out is above the cutoff", e)
        hold(len(self.members - self.out) > 1, "somebody must win", e)
        self.screened.add(key[0])
        self.members.discard(key[0])
        self.out.add(key[0])

    def _on_drop(self, e: dict[str, Any]) -> None:
        id_, alive = e["configuration"], self.members - self.out
        if self.leader is not None:
            alive = {*self.contenders}
            hold(self.final and self.finalists and self.won is None, "a finalist is dropped before one has won", e)
        hold(id_ in alive and len(alive) > 1, "who is dropped was in the race, not alone", e)
        losses = [float(one["loss"]) for (of, seed), one in self.told.items() if of == id_ and self._is_race(seed)]
        hold(e["n_instances"] == len(losses), "a drop tells how much had finished", e, losses)
        if self.criterion is not None and losses and np.isfinite(losses).all():
            hold(math.isclose(float(e["value"]), float(self.criterion(np.array(losses)))), "and the criterion", e)
        self.out.add(id_)
        self.dropped.add(id_)

    def _is_race(self, seed: int) -> bool:
        return seed in self.columns["race"]

    def _on_pause(self, e: dict[str, Any]) -> None:
        hold(e["on"] != self.paused, "a pause is one", e)
        self.paused = e["on"]

    def _on_halt(self, e: dict[str, Any]) -> None:
        hold(not self.over, "what is over is not ended", e)

    def _on_eliminate(self, e: dict[str, Any]) -> None:
        gone, n, alive = e["configurations"], e["n_instances"], self.members - self.out
        hold(set(gone) <= alive and len(set(gone)) == len(gone), "who is cut was in the race", e)
        hold(len(gone) < len(alive), "somebody survives a cut", e)
        hold(gone or self.dropped, "a cut is of somebody", e)
        hold(self.leader is None, "nobody is cut after the verdict", e)
        values = {id_: self._value(id_, n) for id_ in alive}
        if self.criterion is not None and gone:
            for id_, value in zip(gone, e["values"], strict=True):
                hold(math.isclose(float(value), values[id_], rel_tol=1e-9), "a cut tells the criterion", e, values)
            if self.rule[0] in ("halving", "sequential_halving", "exhaustive", "top_two"):
                worst = max(values[id_] for id_ in alive - set(gone))
                best = min(values[id_] for id_ in gone)
                hold(best >= worst * (1 - 1e-12), "the worse are cut", e, values)
                same = math.isclose(float(e["cutoff"]), worst, rel_tol=1e-9)
                hold(same or self.dropped, "the cutoff is the worst kept", e)
        if not self.dropped and self.rule[0] in ("halving", "sequential_halving"):
            hold(len(gone) == len(alive) - max(len(alive) // 2, 1), "half of them are cut", e)
        self.out |= set(gone)
        self.round = self.before + e["round"] + 1
        self.deepest = max(self.deepest, self.before + e["round"])

    def _value(self, id_: str, n: int) -> float:
        seeds = self.columns["race"][:n]
        lacking = [seed for seed in seeds if (id_, seed) not in self.told]
        hold(len(seeds) == n and not lacking, "a cut rests on whole columns", id_, n, lacking)
        losses = np.array([float(self.told[id_, seed]["loss"]) for seed in seeds])
        if self.criterion is None:
            return 0.0
        return (
            float(self.criterion(losses))
            if np.isfinite(losses).all() or self.criterion is not OWN["mean"]
            else math.inf
        )

    def _on_verdict(self, e: dict[str, Any]) -> None:
        hold(e["winner"] in self.members - self.out, "a survivor wins", e)
        hold(set(e["indistinguishable"]) <= self.members - self.out, "survivors share a verdict", e)
        self.leader = e["winner"]
        self.same = {self.leader, *e["indistinguishable"]}
        self._count_instances()

    def _count_instances(self) -> None:
        """What the rule may spend, and what it must: of a single wave whose rule never changed."""
        if self.wave != 1 or self.reopened or self.screened or self.dropped:
            return
        n, (name, own) = len(self.order), self.rule
        asked = sum(len(seeds) for (phase, _), seeds in self.asked.items() if phase == "race")
        if name == "halving" and not self.ahead:
            total, left = own["warmup"] * n, n
            while (left := left // 2) > 1:
                total += left
            hold(asked == total, "Algorithm 1 trains so many", asked, total)
        elif name == "exhaustive":
            hold(asked == n * own["n_instances"], "exhaustive search trains all", asked)
        elif name == "sequential_halving" or (
            name == "top_two" and own.get("budget") is not None and not self.needs_two
        ):
            hold(asked <= max(own["budget"], n), "the budget is kept", asked, own["budget"])

    ahead = needs_two = False

    def _on_final(self, e: dict[str, Any]) -> None:
        hold(self.leader is not None, "a verdict comes first", e)
        self.final = True

    @property
    def contenders(self) -> list[str]:
        """Who is being confirmed."""
        left = [id_ for id_ in self.finalists if id_ not in self.separated and id_ not in self.dropped]
        return left or [id_ for id_ in [self.leader] if id_ is not None]

    def _end_contest(self) -> None:
        self.finalists, self.separated, self.won = [], {}, None

    def _on_reopen(self, e: dict[str, Any]) -> None:
        self.final, self.over, self.reopened = False, False, True
        self._end_contest()
        if not e["whole_pool"]:
            return
        if self.screened | self.dropped >= set(self.order):
            self.screened.clear()
        self.out = self.screened | self.dropped
        self.members = set(self.order) - self.out
        self.before = self.deepest = 0
        self.wave += 1
        self.round, self.leader = 1, None

    def _on_measure(self, e: dict[str, Any]) -> None:
        hold(e["configuration"] in self.order, "what is measured is in the pool", e)
