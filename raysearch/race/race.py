"""THE algorithm: ask and tell over a pool of configurations, a criterion, a rule, paired seeds and a journal.

Every change of state is an event: written to the journal first, then applied by the code that also replays a journal,
then heard by whoever listens, and returned by the call that made it.
Column s of the loss matrix is instance s: the same seed, hence the same training sample, for every configuration.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence

from raysearch.criteria import Criterion
from raysearch.race.checked import checked
from raysearch.race.decided import decided
from raysearch.race.dropping import drop
from raysearch.race.finalists import Contest
from raysearch.race.informed import Informed
from raysearch.race.ports import Listener, Propose, Writer, append_all
from raysearch.race.screening import Screening
from raysearch.race.state import State
from raysearch.race.stuck import stuck
from raysearch.race.turns import Turns
from raysearch.race.window import Sight, width_for
from raysearch.records import InstanceKey, InstanceResult, Phase, Status, TrialRequest
from raysearch.rules import Decision, Rule
from raysearch.storage import events as e
from raysearch.storage.decoding import Entry
from raysearch.storage.events import Event


class Race:
    """A race of the configurations that a sampler proposes; their order breaks ties.

    Args:
        propose: gives the pool, at once or wave by wave.
        criterion: losses `(n_instances,)` -> float, lower is better.
        rule: decides from the loss matrix.
        seed: root of the seeds of all instances, 0 or more.
        confirm: number of fresh-seed instances of the winner, or of each of so many `finalists`, of whom the best wins.
        block: seeds of one configuration that may share a trial.
        retries: how often a failed instance is tried again before it counts as +inf.
        ahead: start likely next instances on idle machines while a decision is open; they may turn out obsolete.
        screening: when a configuration's first instance is so bad that the configuration is out; None trains all.
        journal: where events go before they count; None keeps the race in memory only.
        n_configurations: how many `propose` will give in all, where it says so; nothing but progress looks at it.
        clock: returns the time in seconds since 1970.
    """

    def __init__(
        self,
        propose: Propose,
        criterion: Criterion,
        rule: Rule,
        *,
        seed: int = 0,
        confirm: int = 0,
        finalists: int = 1,
        block: int = 1,
        retries: int = 2,
        ahead: bool = False,
        screening: Screening | None = None,
        journal: Writer | None = None,
        n_configurations: int | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.propose, self.criterion, self.rule, self.journal = propose, criterion, rule, journal
        self.confirm, self.block, self.retries, self.ahead, self.screening = confirm, block, retries, ahead, screening
        self.n_configurations, self.state = n_configurations, State(seed)
        self.listener: Listener | None = None
        self._clock, self._turns, self._sight = clock, Turns(), Sight(self.state)
        self.contest, self.informed = Contest(self.state, criterion, confirm, finalists), Informed(rule, self.state)
        self._committed: list[Event] = []
        self._unseen = True  # whether anything happened since the rule looked last

    @property
    def done(self) -> bool:
        """Whether the verdict stands and the winner is confirmed."""
        return self.contest.over

    # ---- what drives the race: every call returns the events that it committed

    def begin(self, n_slots: int) -> list[Event]:
        """Note how many instances can run at once: a rule with a window of its own choice takes it from that, once."""
        width = 0 if self.ahead else width_for(self.rule, n_slots, self.state.window)
        if width != self.state.window:
            self._commit(e.Window(width))
        return self._events()

    def ask(self, n: int = 1) -> list[Event]:
        """Ask for up to `n` trials: the TrialRequest among the events are to be trained now.

        None among them: wait for what runs, or, if the race is `done`, for nothing. Raises StuckError where nothing
        runs either: nobody could ever end that.
        """
        n_asked = 0
        while n_asked < n and (train := self._next()) is not None:
            self._commit(train)
            n_asked += 1
        if n > 0 and not n_asked and not self.done and not self.state.running:
            raise stuck(self.rule, self.state)
        return self._events()

    def tell(self, *results: InstanceResult) -> list[Event]:
        """Take in results, then decide; among the events are the results as they count, and Stop for what is obsolete.

        What was told before, or stopped, is passed over. A loss that is NaN or infinite counts as DIVERGED, whatever
        its status says. Raises ValueError, and nothing is done, for what is no result of a training.
        """
        ended = {one.key: checked(one, self._attempt(one.key)) for one in results if self.state.awaited(one.key)}
        self._commit(*(e.Tell(result, self.state.phase(key)) for key, result in ended.items()))
        self._turns.n_awaited -= len(ended)
        self._decide()
        return self._events()

    def _attempt(self, key: InstanceKey) -> int:
        return max(self.state.attempts[key] + (key in self.state.running), 1)

    def fail(self, key: InstanceKey, error: str, node: str = "") -> list[Event]:
        """Take in a crash: the instance is tried again, or, at last, is told as FAILED."""
        if key not in self.state.running:
            return []
        attempt = self.state.attempts[key] + 1
        self._commit(e.Failure(key, attempt, error, node))
        if attempt <= self.retries:
            return self._events()
        return self.tell(InstanceResult(key, math.inf, Status.FAILED, node=node, error=error))

    def lose(self, keys: Iterable[InstanceKey]) -> list[Event]:
        """Have running instances asked for again, one by one, without counting it as a failure of theirs."""
        for key in keys:
            if key in self.state.running:
                self._commit(e.Lost(key))
        return self._events()

    def stop(self, key: InstanceKey) -> list[Event]:
        """Note that an instance was ended early, unless it has ended."""
        if self.state.awaited(key):
            self._commit(e.Stop(key))
        return self._events()

    def screen_out(
        self, key: InstanceKey, curve: Sequence[float], cutoff: float, seconds: float, node: str
    ) -> list[Event]:
        """Note that a first instance ended at a rung, its last loss above `cutoff`: its configuration is out."""
        if not self.state.awaited(key):
            return []
        if len(self.state.survivors) <= 1:  # somebody must win: it is trained again, to its end
            return self.lose([key])
        self._commit(e.Screen(key, cutoff, tuple(curve), round(seconds, 6), node))
        self._turns.n_awaited = 0
        self._decide()
        return self._events()

    def requeue_running(self) -> list[Event]:
        """Ask again, first, for all that was in flight when a driver died; what had failed for good is told so now."""
        events = self.lose(sorted(self.state.running))
        for key, last in list(self.state.last_failures.items()):
            if last.attempt > self.retries:
                events += self.tell(InstanceResult(key, math.inf, Status.FAILED, node=last.node, error=last.error))
        return events

    def retry_failed(self) -> list[Event]:
        """Take back every instance that failed for good, and let the rule decide anew.

        For failures that were the machines': a disk that was full, a dataset that was not there.
        """
        # the pool is opened first: who dies between must not leave a verdict that rests on what was taken back
        failed = sorted(self.state.failed)
        raced = any(self.state.phase(key) is Phase.RACE for key in failed)
        events = self.reopen(whole_pool=True) if raced else []
        for key in failed:
            self._commit(e.Retry(key))
        return events + self._events()

    def reopen(self, *, whole_pool: bool) -> list[Event]:
        """Let a finished race go on: with more of the sampler, or, `whole_pool`, with every configuration anew."""
        self._commit(e.Reopen(whole_pool))
        self._sight = Sight(self.state)
        return self._events()

    def drop(self, configuration_id: str, reason: str = "", by: str = "") -> list[Event]:
        """Take a configuration out, as a person wishes; nothing is done where it is out, or nobody else is left."""
        event = drop(self.state, self.criterion, configuration_id, reason, by)
        if event is not None:
            self._commit(event)
            self._turns.n_awaited = 0
            self._decide(left=True)
        return self._events()

    def note(self, *remarks: e.Measured | e.Packs | e.Pause | e.Halt | e.Learn) -> list[Event]:
        """Keep what was measured or learnt, or what a person asked of whoever drives the race."""
        self._commit(*remarks)
        return self._events()

    def replay(self, entries: Iterable[Entry]) -> None:
        """Bring a new race to where a journal's events led; raises JournalError for one that does not fit."""
        self.state.replay(entries)
        self._turns = Turns(self.state.batch)  # what the driver before this one had not asked for
        self._sight = Sight(self.state)

    def _next(self) -> TrialRequest | None:
        """Return the next trial: what is to be tried again, what the rule asked for, confirmation, what is likely."""
        self._decide()
        return self._retried() or self._due() or self._confirmation() or self._likely()

    def _retried(self) -> TrialRequest | None:
        state = self.state
        while state.retry_queue:
            key = state.retry_queue[0]
            if not state.obsolete(key):
                phase, index = state.seeds.index(key.seed)
                return self._train(state.pool.rows[key.configuration_id], phase, [index])
            self._commit(e.Stop(key))
            self._decide()  # the rule may have waited for it
        return None

    def _due(self) -> TrialRequest | None:
        turn = self._turns.next(self.state.pool.alive, self._block_of)
        return turn and self._train(turn[0], Phase.RACE, self.state.pool.next_columns(*turn), self._sight.n_known)

    def _confirmation(self) -> TrialRequest | None:
        turn = self.contest.next(self.block)
        return None if turn is None else self._train(turn[0], Phase.CONFIRMATION, turn[1])

    def _likely(self) -> TrialRequest | None:
        row = self._turns.next_likely(self.state.pool.alive) if self.ahead else None
        return None if row is None else self._train(row, Phase.RACE, self.state.pool.next_columns(row, 1))

    def _train(self, row: int, phase: Phase, indices: Iterable[int], n_seen: int | None = None) -> TrialRequest:
        seeds = tuple(self.state.seeds.seed(phase, index) for index in indices)
        first = phase is Phase.RACE and seeds[0] == self.state.seeds.seed(phase, 0)
        # the last one is trained to its end: somebody must win
        screening = self.screening if first and len(self.state.survivors) > 1 else None
        cutoffs = screening.cutoffs(self.state.screening_curves) if screening else {}
        return TrialRequest(self.state.pool.configurations[row], seeds, phase, cutoffs, n_seen)

    def _block_of(self, row: int) -> int:
        """Return how many seeds of a row may share a trial; a screening instance is alone in its own."""
        return 1 if self.screening is not None and not self.state.pool.asked[row] else self.block

    # ---- decisions

    def _decide(self, *, left: bool = False) -> None:
        """Let the rule look again, if turns are taken and what it awaited has come; `left`: somebody was dropped."""
        looked = left
        while not self.state.final and not self._turns.any_left(self.state.pool.alive) and self._has_news():
            looked = True
            if self.state.wave == 0 or self.state.verdict is not None:
                self._next_wave()
            else:
                self._take(self._look())
        while (event := self.contest.due()) is not None:
            self._commit(event)
            looked = True
        if looked and (stopped := list(filter(self.state.obsolete, (*self.state.running, *self.state.retry_queue)))):
            for key in stopped:
                self._commit(e.Stop(key))
            self._decide()  # one of them may be the very one that the rule waits for

    def _has_news(self) -> bool:
        if self.state.window and self.state.wave and self.state.verdict is None:
            return self._sight.has_news()
        return self._unseen and (self._turns.n_awaited <= 0 or not self.state.running)

    def _look(self) -> Decision:
        losses, pending = self._sight.matrix(self.state.members)
        decision = self.informed.decide(losses, pending, self.criterion)
        self._sight.looked(n_awaited=decision.n_awaited, asked=bool(decision.train))
        self._unseen = False
        return decision

    def _next_wave(self) -> None:
        wave = self.propose(self.state.pool.outcomes() if self.state.wave else [])
        new = {c.id: c for c in wave if c.id not in self.state.pool.rows}
        self._commit(e.Wave(tuple(new.values())) if new else e.Final())

    def _take(self, decision: Decision) -> None:
        for event in decided(decision, self.state, self._sight.n_known):
            self._commit(event)
            self._unseen = not isinstance(event, e.Decide)  # that one says no more than the rule did
        train, likely = (self.state.members[list(rows)].tolist() for rows in (decision.train, decision.ahead))
        self._turns = Turns(train, likely, n_awaited=0 if self.ahead else decision.n_awaited)

    def _commit(self, *events: Event) -> None:
        now = round(self._clock(), 3)
        append_all(self.journal, events, now)
        for event in events:
            self.state.apply(event)
            self._unseen |= not isinstance(event, e.REMARKS)
        self._committed += events
        if self.listener is not None:
            for event in events:
                self.listener(event, now)

    def _events(self) -> list[Event]:
        """Return what was committed since the last call that returned events."""
        committed, self._committed = self._committed, []
        return committed
