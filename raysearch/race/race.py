"""THE algorithm: ask and tell over a pool of configurations, a criterion, a rule, paired seeds and a journal.

Every change of state is an event: written to the journal first, then applied by the code that also replays a journal.
Column s of the loss matrix is instance s: the same seed, hence the same training sample, for every configuration.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from raysearch.criteria import Criterion
from raysearch.errors import StuckError
from raysearch.race.screening import Screening
from raysearch.race.state import State
from raysearch.race.turns import Turns
from raysearch.records import (
    DONE,
    WAIT,
    Configuration,
    InstanceKey,
    InstanceResult,
    Outcome,
    Phase,
    Signal,
    Status,
    Train,
    checked,
)
from raysearch.rules import Decision, Rule, RuleVerdict
from raysearch.storage.events import Event, encode_cut, encode_number, encode_result, encode_verdict


class Writer(Protocol):
    """What a race needs of a journal."""

    def append(self, event: Event, /) -> None:
        """Bring an event to disk."""


Propose = Callable[[Sequence[Outcome]], Sequence[Configuration]]
"""A sampler's proposal: outcomes so far -> next wave; known configurations are left out, an empty wave ends it."""


class Race:
    """A race of the configurations that a sampler proposes; their order breaks ties.

    Args:
        propose: gives the pool, at once or wave by wave.
        criterion: losses `(n_instances,)` -> float, lower is better.
        rule: decides from the loss matrix.
        seed: root of the seeds of all instances, 0 or more.
        confirm: number of fresh-seed instances of the winner.
        block: seeds of one configuration that may share a trial.
        retries: how often a failed instance is tried again before it counts as +inf.
        ahead: start likely next instances on idle machines while a decision is open; they may turn out superfluous.
        screening: when a configuration's first instance is so bad that the configuration is out; None trains all.
        journal: where events go before they count; None keeps the race in memory only.
        n_configurations: how many `propose` will give in all, where it says so; nothing but progress looks at it.
    """

    def __init__(
        self,
        propose: Propose,
        criterion: Criterion,
        rule: Rule,
        *,
        seed: int = 0,
        confirm: int = 0,
        block: int = 1,
        retries: int = 2,
        ahead: bool = False,
        screening: Screening | None = None,
        journal: Writer | None = None,
        n_configurations: int | None = None,
    ) -> None:
        self.propose, self.criterion, self.rule, self.journal = propose, criterion, rule, journal
        self.confirm, self.block, self.retries, self.ahead = confirm, block, retries, ahead
        self.screening, self.n_configurations, self.state = screening, n_configurations, State(seed)
        self._turns = Turns()
        self._likely: deque[int] = deque()
        self._n_awaited = 0
        self._unseen = True
        """Whether anything happened since the rule looked last."""

    @property
    def done(self) -> bool:
        """Whether the verdict stands and the winner is confirmed."""
        return self.state.final and len(self.state.confirmation) >= self.confirm

    # ---- what drives the race

    def ask(self, n: int = 1) -> list[Train] | Signal:
        """Return up to `n` blocks to train now, WAIT while a decision needs running instances, or DONE.

        Raises StuckError where it would wait although nothing runs: nobody could ever end that.
        """
        blocks: list[Train] = []
        while len(blocks) < n and (block := self._next_block()) is not None:
            blocks.append(block)
            event = {"event": "ask", "configuration": block.configuration.id, "seeds": list(block.seeds)}
            self._commit({**event, "phase": block.phase.value})
        if blocks:
            return blocks
        if self.done:
            return DONE
        if n > 0 and not self.state.running:
            raise self._stuck()
        return WAIT

    def tell(self, result: InstanceResult) -> InstanceResult | None:
        """Take in a result and return it as it counts; None, and nothing is done, where it was told before.

        A loss that is NaN or infinite counts as DIVERGED, whatever its status says. Raises ValueError for what is no
        result of a training.
        """
        if not self.state.awaited(result.key):
            return None
        attempt = self.state.attempts[result.key] + (result.key in self.state.running)
        result = dataclasses.replace(checked(result), attempt=max(attempt, 1))
        self._commit({**encode_result(result), "phase": self.state.phase(result.key).value})
        self._n_awaited -= 1
        self._decide()
        return result

    def fail(self, key: InstanceKey, error: str, node: str = "") -> InstanceResult | None:
        """Take in a crash; returns None if the instance will be tried again, else the FAILED result that counts."""
        if key not in self.state.running:
            return None
        attempt = self.state.attempts[key] + 1
        self._commit({"event": "failure", **_names(key), "attempt": attempt, "error": error, "node": node})
        if attempt <= self.retries:
            return None
        return self.tell(InstanceResult(key, math.inf, Status.FAILED, node=node, error=error))

    def lose(self, keys: Iterable[InstanceKey]) -> None:
        """Have running instances asked for again, one by one, without counting it as a failure of theirs."""
        for key in keys:
            if key in self.state.running:
                self._commit({"event": "lost", **_names(key)})

    def stop(self, key: InstanceKey) -> bool:
        """Note that a superfluous instance was ended early; returns False if it is not awaited."""
        if not self.state.awaited(key):
            return False
        self._commit({"event": "stop", **_names(key)})
        return True

    def screen_out(self, key: InstanceKey, curve: Sequence[float], cutoff: float, seconds: float, node: str) -> None:
        """Note that a first instance ended at a rung, its last loss above `cutoff`: its configuration is out."""
        if not self.state.awaited(key):
            return
        if len(self.state.members) <= 1:  # somebody must win: it is trained again, to its end
            self._commit({"event": "lost", **_names(key)})
            return
        losses = [encode_number(loss) for loss in curve]
        event = {"event": "screen", **_names(key), "cutoff": cutoff, "curve": losses}
        self._commit({**event, "seconds": round(seconds, 6), "node": node})
        self._n_awaited = 0
        self._decide()

    def requeue_running(self) -> list[InstanceKey]:
        """Ask again, first of all, for every instance in flight: what a new driver does after the old one died."""
        lost = sorted(self.state.running)
        self.lose(lost)
        return lost

    def retry_failed(self) -> list[InstanceKey]:
        """Take back every instance that failed for good, and let the rule decide anew; returns those instances.

        For failures that were the machines': a disk that was full, a dataset that was not there.
        """
        failed = sorted(self.state.failed)
        for key in failed:
            self._commit({"event": "retry", **_names(key)})
        if any(self.state.phase(key) is Phase.RACE for key in failed):
            self.reopen(whole_pool=True)
        return failed

    def reopen(self, *, whole_pool: bool) -> None:
        """Let a finished race go on: with more of the sampler, or, `whole_pool`, with every configuration anew."""
        self._commit({"event": "reopen", "whole_pool": whole_pool})

    def replay(self, events: Iterable[Event]) -> None:
        """Bring a new race to where a journal's events led; raises JournalError for an event that does not fit."""
        self.state.replay(events)
        self._turns = Turns(self.state.batch)  # what the driver before this one had not asked for

    # ---- decisions

    def _next_block(self) -> Train | None:
        state = self.state
        while state.again:
            key = state.again[0]
            if not state.superfluous(key):
                phase, index = state.seeds.index(key.seed)
                return self._train(state.pool.rows[key.configuration_id], phase, [index])
            self._commit({"event": "stop", **_names(key)})
        self._decide()
        turn = self._turns.next(state.pool.alive, self._block_of)
        if turn is not None:
            row, n = turn
            return self._train(row, Phase.RACE, state.pool.next_columns(row, n))
        if state.final and state.verdict is not None:
            left = self.confirm - state.n_confirmation_asked
            if left > 0:
                indices = state.next_confirmations(min(self.block, left))
                return self._train(state.verdict.leader, Phase.CONFIRMATION, indices)
        while self.ahead and self._likely:
            row = self._likely.popleft()
            if state.pool.alive[row]:
                return self._train(row, Phase.RACE, state.pool.next_columns(row, 1))
        return None

    def _stuck(self) -> StuckError:
        state = self.state
        members, losses = state.members, state.pool.losses[state.members]
        finished = [int(n) for n in (losses == losses).sum(axis=1)]
        return StuckError(
            f"the rule {self.rule} asks for nothing and has no verdict, although nothing runs: round {state.round}, "
            f"{len(state.survivors)} of {len(members)} configurations left, finished instances {finished[:8]} ... "
            "The journal is good and nothing is lost: `raysearch resume RUN_DIR --set rule=halving` goes on with "
            "another rule. This is a defect of the rule, please report it"
        )

    def _train(self, row: int, phase: Phase, indices: Iterable[int]) -> Train:
        seeds = tuple(self.state.seeds.seed(phase, index) for index in indices)
        first = phase is Phase.RACE and seeds[0] == self.state.seeds.seed(phase, 0)
        screened = first and len(self.state.members) > 1  # the last one is trained to its end: somebody must win
        cutoffs = self.screening.cutoffs(self.state.screening_curves) if self.screening and screened else {}
        return Train(self.state.pool.configurations[row], seeds, phase, cutoffs)

    def _block_of(self, row: int) -> int:
        """Return how many seeds of a row may share a trial; a screening instance is alone in its own."""
        return 1 if self.screening is not None and not self.state.pool.asked[row] else self.block

    def _decide(self) -> None:
        """Let the rule look again, if all turns are taken and what it awaited has come, or will not come."""
        while (
            self._unseen
            and not self.state.final
            and (self._n_awaited <= 0 or not self.state.running)
            and not self._turns.any_left(self.state.pool.alive)
        ):
            if self.state.wave == 0 or self.state.verdict is not None:
                self._next_wave()
                continue
            members = self.state.members
            pool = self.state.pool
            decision = self.rule.decide(pool.losses[members], pool.pending[members], self.criterion)
            self._unseen = False
            self._take(decision)

    def _next_wave(self) -> None:
        known = self.state.pool.rows
        wave = self.propose(self.state.outcomes() if self.state.wave else [])
        new = {c.id: c for c in wave if c.id not in known}
        if new:
            self._commit({"event": "pool", "configurations": [[c.id, dict(c.parameters)] for c in new.values()]})
        else:
            self._commit({"event": "final"})

    def _take(self, decision: Decision) -> None:
        members, ids = self.state.members, [c.id for c in self.state.pool.configurations]
        for cut in decision.eliminated:
            if (self.state.wave, cut.round) not in self.state.cuts:
                rows = members[list(cut.configurations)].tolist()
                self._commit(encode_cut(self.state.wave, cut, [ids[row] for row in rows]))
        if decision.verdict is not None:
            self._commit(
                encode_verdict(self.state.wave, _in_pool(decision.verdict, members), self.state.pool.configurations)
            )
        train = members[list(decision.train)].tolist()
        round_ = self.state.n_rounds_before + decision.round
        batch = [ids[row] for row in train] if decision.together else []
        if decision.verdict is None and (batch or round_ > self.state.round):
            self._commit({"event": "decide", "round": max(round_, self.state.round), "batch": batch})
            self._unseen = False
        self._turns = Turns(train)
        self._likely = deque(members[list(decision.ahead)].tolist())
        self._n_awaited = 0 if self.ahead else decision.n_awaited

    def _commit(self, event: Event) -> None:
        if self.journal is not None:
            self.journal.append(event)
        self.state.apply(event)
        self._unseen = True


def _names(key: InstanceKey) -> dict[str, Any]:
    return {"configuration": key.configuration_id, "seed": key.seed}


def _in_pool(verdict: RuleVerdict, members: Any) -> RuleVerdict:
    """Return a verdict on the rows of a wave as one on the rows of the pool."""
    same = tuple(int(row) for row in members[list(verdict.indistinguishable)])
    return dataclasses.replace(verdict, leader=int(members[verdict.leader]), indistinguishable=same)
