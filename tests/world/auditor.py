"""The auditor of a world: keeps books of its own from the bytes on disk, and says where a search breaks a promise.

It shares no code with what it judges but for one thing that is itself on trial: the state that replay comes to, which
must be the one that is lived.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from raysearch.race.state import State
from raysearch.storage.decoding import decode

from .books import OWN, Broken, Key, hold
from .finals import FinalBooks
from .machine import Content

_parse = json.JSONDecoder().decode
PATH = Path("/world/journal.jsonl")
RUNS_END = {"COMPLETE": "FINISHED", "DIVERGED": "FINISHED", "FAILED": "FAILED"}


class Auditor(FinalBooks):
    """Reads the journal of a world as it grows.

    Every event is checked against the books. Whole states are compared after every `every`-th, and where a driver dies
    or ends.
    """

    def __init__(self, seed: int, criterion: str, retries: int, every: int = 1) -> None:
        super().__init__(criterion, retries)
        self.shadow, self.known = State(seed), dict[str, Any]()
        self.acknowledged = bytearray()
        self.every, self.n_audited, self.n_compared = every, 0, 0
        self.learnt: dict[Key, Any] = {}
        """Losses that an earlier search had: nobody trains these instances."""

    # ---- the journal

    def look(self, content: Content, race: Any = None) -> None:
        """Take in what was appended; with a `race`, its state must be what the journal says."""
        seen = content.seen
        whole = seen.rfind(b"\n") + 1
        hold(whole >= len(self.acknowledged), "no line that was acknowledged is ever lost")
        new = bytes(seen[len(self.acknowledged) : whole])
        hold(race is None or len(content.durable) >= len(seen), "what counts is on disk", new[-80:])
        for line in new.splitlines():
            try:
                event = _parse(line.decode())
            except ValueError as error:
                raise Broken(f"every line is JSON: {line[:200]!r}") from error
            self.enter(event)
            self._replay(event)
        self.acknowledged += new
        if race is None:
            return
        self.n_audited += 1
        if self.n_audited % self.every == 0:
            self.compare(content, race)
        else:
            self._count(race.state)

    def _replay(self, line: dict[str, Any]) -> None:
        try:
            event = decode(line, self.known)
            self.shadow.apply(event)
        except Exception as error:
            raise Broken(f"the journal is valid at every prefix: {line} {error!r}") from error
        if line["event"] == "pool":
            self.known.update({one.id: one for one in event.configurations})

    def _on_learn(self, e: dict[str, Any]) -> None:
        hold(not self.order, "what is learnt is learnt before anybody races", e)
        self.learnt = {(id_, seed): loss for id_, seed, loss, _ in e["results"] if e["counts"]}

    def _on_tell(self, e: dict[str, Any]) -> None:
        known = self.learnt.get((e["configuration"], e["seed"]), e["loss"])
        hold(known == e["loss"], "what an earlier search had is told as it was", e, known)
        super()._on_tell(e)

    def _count(self, live: Any) -> None:
        """What can be seen at a glance of the state that is lived."""
        hold(live.round == self.round, "the round is that of the events", live.round, self.round)
        hold(len(live.running) == len(self.flying), "what runs is what was asked for and has not ended")
        hold(len(live.retry_queue) == len(self.queue), "what waits is what failed or was lost")
        counts = live.counts["told"], live.counts["asked"]
        own = len(self.told), self.n_asked
        hold(counts == own, "results, and who is asked for, are counted once", counts, own)

    def compare(self, content: Content, race: Any) -> None:
        """Compare the whole state that is lived with the one replayed, and with the books."""
        self.n_compared += 1
        hold(content.seen.startswith(self.acknowledged), "no line that was acknowledged is ever lost")
        live, state = race.state, self.shadow
        self._count(live)
        deep = self.n_compared % 32 == 0
        for held, again in ((vars(live), vars(state)), (vars(live.pool), vars(state.pool))):
            if not deep and _all_equal(held, again):
                continue
            for name, value in held.items():
                if name not in ("pool", "seeds") and not _same(value, again[name], deep):
                    raise Broken(f"the state that is lived is the one replayed: {name}")
        hold(set(_keys(live.running)) == self.flying, "what runs is what was asked for and has not ended")
        hold(set(_keys(live.retry_queue)) == self.queue, "what waits is what failed or was lost")
        raced = set(self.columns["race"])
        pending = Counter(id_ for id_, seed in self.flying | self.queue if seed in raced)
        shown = dict(zip(self.order, live.pool.pending.tolist(), strict=True))
        hold({i: n for i, n in shown.items() if n} == pending, "pending is what is asked for", shown, pending)
        told = {status: n for status, n in Counter(one["status"] for one in self.told.values()).items() if n}
        counted = {s: live.counts[s] for s in ("COMPLETE", "DIVERGED", "FAILED") if live.counts[s]}
        hold(told == counted, "every result is counted once", told, counted)

    # ---- the end

    def ended(self, content: Content, race: Any) -> None:
        """The race says that it is done."""
        hold(self.final and self.leader is not None, "who is done has a verdict")
        confirmed = [key for key in self.told if key[0] == self.winner and key[1] in self.columns["confirmation"]]
        several = self.n_finalists > 1 and self.confirm > 0
        hold(not several or self.won is not None, "one of the finalists has won", self.finalists)
        hold(len(confirmed) >= self.confirm, "the winner is confirmed", len(confirmed), self.confirm)
        hold(not self.flying and not self.queue, "nothing runs at the end", self.flying, self.queue)
        back = {key for key in self.taken_back if key[0] in self.members - self.out and key[1] in self._counted(key)}
        hold(not back, "what was taken back is trained", back)
        self.over = True
        self.compare(content, race)

    def _counted(self, key: Key) -> list[int]:
        """Return the seeds whose losses count for a survivor of the last verdict."""
        last = next(e for e in reversed(self.lines) if e["event"] == "verdict")
        return self.columns["race"][: last["n_instances"] or 0]

    def check_front(self, front: Any) -> None:
        """Of the configurations in the front none beats another; each is judged by instances that were told."""
        for point in front:
            others = [one.values for one in front if one is not point]
            beaten = [v for v in others if all(map(float.__le__, v, point.values)) and v != point.values]
            hold(not beaten, "nobody in the front is beaten", point, beaten)
            losses = [self.told.get((point.configuration_id, seed)) for seed in self.columns["race"]]
            first = losses[: point.n_instances]
            if None not in first:
                own = OWN["median"](np.array([float(one["loss"]) for one in first if one is not None]))
                hold(math.isclose(own, point.values[0]), "the front tells the criterion", point, own)

    def check_store(self, image: dict[Any, Any]) -> None:
        """MLflow shows what the journal says."""
        hold(all(len(runs) == 1 for runs in image.values()), "a record is one run", _doubled(image))
        shown = {key: runs[0] for key, runs in image.items()}
        for (id_, seed), e in self.told.items():
            run = shown.get((id_, str(seed)))
            hold(run is not None, "every result is in MLflow", id_, seed)
            tags, status = run["tags"], RUNS_END[e["status"]]
            hold((tags["status"], run["status"]) == (e["status"], status), "MLflow shows how it ended", e, run)
            hold(tags["raysearch.phase"] == e["phase"], "MLflow shows the phase", e, tags)
            metrics, loss = run["metrics"], float(e["loss"])
            hold(metrics["final_loss"] == str(loss if math.isfinite(loss) else math.nan), "MLflow shows the loss", e)
            hold(metrics["attempt"] == str(float(e["attempt"])), "MLflow shows the attempt", e, run)
        for id_ in {id_ for _, id_ in self.asked}:
            hold((id_, None) in shown, "every configuration is in MLflow", id_)
            if self.over:
                wanted = "winner" if id_ == self.winner else "eliminated" if id_ in self.out else None
                status = shown[id_, None]["tags"]["status"]
                hold(status == wanted or wanted is None, "MLflow shows who won", id_, status, wanted)
        for e in self.lines:
            if e["event"] == "measure":
                of = shown.get((e["configuration"], None if e["seed"] is None else str(e["seed"])))
                hold(of is not None and f"{e['measure']}.v" in of["metrics"], "MLflow shows measures", e)
        if self.over:
            tags = shown["", None]["tags"]
            hold((tags["status"], tags["winner"]) == ("finished", self.winner), "MLflow shows the verdict", tags)


def _keys(keys: Any) -> list[Key]:
    return [(key.configuration_id, key.seed) for key in keys]


def _doubled(image: dict[Any, Any]) -> list[Any]:
    return [key for key, runs in image.items() if len(runs) > 1]


def _all_equal(held: dict[str, Any], again: dict[str, Any]) -> bool:
    """Return whether the same fields hold the same, at a glance: False where a closer look is needed."""
    if held.keys() != again.keys():
        return False
    ours, theirs = [], []
    for name, value in held.items():
        other = again[name]
        if isinstance(value, np.ndarray):
            value, other = value.tobytes(), other.tobytes()
        elif name in ("pool", "seeds"):
            continue
        ours.append(value)
        theirs.append(other)
    return ours == theirs


def _same(one: Any, other: Any, deep: bool) -> bool:
    if isinstance(one, np.ndarray):
        return one.tobytes() == other.tobytes() or bool(((one == other) | ((one != one) & (other != other))).all())
    return (not deep and bool(one == other)) or plain(one) == plain(other)


def plain(value: Any) -> Any:
    """Return a value for comparison: NaN is NaN, a key that was only asked for is none, and all fields count."""
    if isinstance(value, dict):
        return {str(key): held for key, one in value.items() if (held := plain(one)) not in ({}, "set()", "0")}
    if isinstance(value, set):
        return str(sorted(map(str, value))) if value else "set()"
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    held = getattr(value, "__dict__", None)
    return str(value) if held is None or isinstance(value, str) else plain(held)
