"""One background thread that carries out calls in order, so that a race never waits for a tracking server."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from raysearch.storage.clock import CLOCK, Clock

Call = functools.partial[object]
log = logging.getLogger("raysearch.tracking")

ATTEMPTS_WHILE_ALIVE = 3
"""A call that fails so often on a server that answers is lost; while the server is silent calls wait instead."""
MOST_WAITING = 100_000
"""Calls that may wait, 2.4 kB each with a curve of 50 epochs: of a longer queue the rest is left to `sync`."""
MOST_TOGETHER = 200
"""Calls that are carried out together, where they can be."""
REFUSED_IN_A_ROW = 5
"""After so many lost calls each further one is tried once: 40,000 refused records must not take hours."""
_FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
CAUSE = re.compile(r"\[Errno -?\d+\] [\w ]+|Failed to resolve '[^']*'|[Rr]ead timed out|[Cc]onnect\w* to \S+ timed out")


@dataclass(frozen=True)
class Together:
    """Calls of these `functions` take less inside one `context`, in which all or nothing is written."""

    functions: Collection[Callable[..., object]]
    context: Callable[[], AbstractContextManager[object]]


class Writer:
    """Carries out calls one by one, or `together`; survives a server that dies in mid-run and comes back.

    `alive` tells whether the server answers. `close` waits while calls succeed and at most `patience_s` seconds of
    silence. What could not be carried out is counted in `n_lost`; what is `final`, an error that no repetition would
    mend, is never tried again. Once `MOST_WAITING` calls wait, nothing more is taken: memory is bounded. Calls that
    fail together are carried out one by one.
    """

    def __init__(
        self,
        alive: Callable[[], bool],
        patience_s: float,
        hint: str = "",
        final: Callable[[Exception], bool] = lambda error: False,
        clock: Clock = CLOCK,
        together: Together | None = None,
    ) -> None:
        self._n_lost = self._n_untaken = 0  # each written by one thread alone
        self._full = False
        self._alive, self._patience_s, self._hint, self._final = alive, patience_s, hint, final
        self._clock, self._n_refused, self._n_refusals, self._pause_s = clock, 0, 0, _FIRST_PAUSE_S
        self._began = clock.monotonic()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._taken: deque[Call | None] = deque()
        """What was taken from `_calls` and is not due yet."""
        self._together, self._n_alone = together, 0
        self._silent_since: float | None = None
        self._warned: set[str] = set()
        self._closing = threading.Event()
        self._gave_up = threading.Event()
        self._due: list[Call] = []
        self._start()

    @property
    def backlog(self) -> int:
        """Number of calls that wait or are being carried out."""
        return self._calls.qsize() + len(self._taken) + len(self._due)

    @property
    def n_lost(self) -> int:
        """Number of calls that were not carried out, and will not be."""
        return self._n_lost + self._n_untaken

    def put(self, function: Callable[..., object], *arguments: Any) -> None:
        """Queue a call; returns at once. It must be repeatable: it may be tried again after a failure."""
        self._full = self._full or self._calls.qsize() >= MOST_WAITING
        if self._full:  # also later, when there is room: what rests on a record left out would stand in the air
            self.lose()
            self._warn("full", f"{MOST_WAITING:,} records wait for the tracker: no more are taken. {self._hint}")
        else:
            self._calls.put(functools.partial(function, *arguments))

    def lose(self) -> None:
        """Count a record that could not even be queued."""
        self._n_untaken += 1

    def make_room(self) -> None:
        """Wait while the queue is half full: for who has no race that must not wait. A silent server ends it."""
        while self._calls.qsize() > MOST_WAITING // 2 and self._works(0.05):
            silent = self._silent_since
            if silent is not None and self._clock.monotonic() - silent > self._patience_s:
                return

    def close(self) -> None:
        """Wait for the backlog; give up after `patience_s` of silence and report once what was lost."""
        self._calls.put(None)
        self._closing.set()
        start = self._clock.monotonic()
        while self._works(0.05):
            if self.backlog > 1 and self._clock.monotonic() - start > 2:
                self._warn("backlog", f"waiting for {self.backlog:,} records to be written to the tracker")
            silent = self._silent_since
            waited = 0.0 if silent is None else self._clock.monotonic() - max(silent, start)
            if waited > self._patience_s:
                self._gave_up.set()
            hung = self._due and self._clock.monotonic() - max(self._began, start) > 20 * self._patience_s
            if hung or waited > 2 * self._patience_s:  # inside one request: leave the thread behind, it is a daemon
                self._n_lost += max(self.backlog - 1, 0)  # the closing None is no call
                break
        if self.n_lost:
            log.warning("%d records could not be written to the tracker; the journal has them. %s", *self._lost())

    def _lost(self) -> tuple[int, str]:
        return self.n_lost, self._hint

    def attempt(self) -> float | None:
        """Try the call that is due once; return how long to wait before the next attempt, None when all is done."""
        if not self._due:
            self._take()
            if not self._due:
                return None
            self._began = self._clock.monotonic()
            self._n_refusals, self._pause_s = 0, _FIRST_PAUSE_S
        if self._gave_up.is_set():
            return self._done(lost=True)
        try:
            self._carry_out(self._due)
        except Exception as error:
            if len(self._due) > 1:  # which of them it was is not known
                self._taken.extendleft(reversed(self._due))
                self._n_alone = len(self._due)
                self._due = []
                return 0.0
            if self._is_lost(error):
                return self._done(lost=True)
            self._began = self._clock.monotonic()
            pause_s, self._pause_s = self._pause_s, min(2 * self._pause_s, LONGEST_PAUSE_S)
            return pause_s
        self._silent_since, self._n_refused = None, 0
        return self._done(lost=False)

    def _take(self) -> None:
        """Wait for what is due next: a call, or several that can be carried out together; nothing at the end."""
        call = self._taken.popleft() if self._taken else self._calls.get()
        if call is None:
            return
        self._due = [call]
        if self._n_alone:
            self._n_alone -= 1
            return
        while self._goes_together(call) and len(self._due) < MOST_TOGETHER and self._waits():
            call = self._taken[0]
            if call is None or not self._goes_together(call):
                return
            self._due.append(call)
            self._taken.popleft()

    def _waits(self) -> bool:
        """Return whether a call is there to be taken, without waiting for one."""
        if not self._taken and self._calls.qsize():
            self._taken.append(self._calls.get())
        return bool(self._taken)

    def _goes_together(self, call: Call) -> bool:
        return self._together is not None and call.func in self._together.functions

    def _carry_out(self, calls: Sequence[Call]) -> None:
        together = self._together if self._goes_together(calls[0]) else None
        with contextlib.nullcontext() if together is None else together.context():
            for call in calls:
                call()

    def _done(self, *, lost: bool) -> float:
        self._n_lost += lost * len(self._due)
        self._due = []
        return 0.0

    def _is_lost(self, error: Exception) -> bool:
        """Return whether a call that raised this is refused for good; of a silent server it is not."""
        final = self._final(error)
        if final or self._answers():
            self._n_refusals += 1
            self._silent_since = None
            self._warn("refused", f"the tracker refused a record: {in_short(error)}")
            if final or self._n_refusals >= ATTEMPTS_WHILE_ALIVE or self._n_refused >= REFUSED_IN_A_ROW:
                self._n_refused += 1
                return True
        elif self._silent_since is None:
            self._silent_since = self._clock.monotonic()
            self._warn("silent", f"the tracker does not answer, the race goes on: {in_short(error)}")
        return False

    def _start(self) -> None:
        """Begin to carry calls out, in a thread."""
        self._thread = threading.Thread(target=self._work, name="raysearch-tracking", daemon=True)
        self._thread.start()

    def _works(self, seconds: float) -> bool:
        """Wait for the end of the work, `seconds` at most; return whether it goes on."""
        self._thread.join(seconds)
        return self._thread.is_alive()

    def _work(self) -> None:
        while (pause_s := self.attempt()) is not None:
            if pause_s:
                self._pause(pause_s)

    def _pause(self, pause_s: float) -> None:
        """Wait before the next attempt, a second at most once the race is over, and not where the writer gave up."""
        end = self._clock.monotonic() + pause_s
        while self._clock.monotonic() < end and not self._gave_up.wait(min(pause_s, 0.5)):
            if self._closing.is_set():
                break

    def _answers(self) -> bool:
        try:
            return self._alive()
        except Exception:
            return False

    def _warn(self, kind: str, text: str) -> None:
        """Say it the first time only: a dead server must not flood the terminal."""
        if kind not in self._warned:
            self._warned.add(kind)
            log.warning(text)


def in_short(error: Exception) -> str:
    """Return what matters of an error in one line, without the user and password that an address in it may carry."""
    text = str(error) or type(error).__name__
    cause = CAUSE.search(text)  # what network libraries wrap in five lines of their own
    line = cause.group() if cause else text.splitlines()[0]
    return re.sub(r"//[^/@\s]*@", "//", line)[:300]
