"""One background thread that carries out calls in order, so that a race never waits for a tracking server."""

from __future__ import annotations

import functools
import logging
import queue
import re
import threading
import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], object]
log = logging.getLogger("raysearch.tracking")

ATTEMPTS_WHILE_ALIVE = 3
"""A call that fails so often on a server that answers is lost; while the server is silent calls wait instead."""
REFUSED_IN_A_ROW = 5
"""After so many lost calls each further one is tried once: 40,000 refused records must not take hours."""
LONGEST_PAUSE_S = 30.0
CAUSE = re.compile(r"\[Errno -?\d+\] [\w ]+|Failed to resolve '[^']*'|[Rr]ead timed out|[Cc]onnect\w* to \S+ timed out")


class Writer:
    """Carries out calls one by one; survives a server that dies in mid-run and comes back.

    `alive` tells whether the server answers. `close` waits while calls succeed and at most `patience_s` seconds of
    silence. What could not be carried out is counted in `n_lost`; what is `final`, an error that no repetition would
    mend, is never tried again.
    """

    def __init__(
        self,
        alive: Callable[[], bool],
        patience_s: float,
        hint: str = "",
        final: Callable[[Exception], bool] = lambda error: False,
    ) -> None:
        self.n_lost = 0
        self._alive, self._patience_s, self._hint, self._final = alive, patience_s, hint, final
        self._n_refused = 0
        self._began = time.monotonic()
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._busy = False
        self._silent_since: float | None = None
        self._warned: set[str] = set()
        self._closing = threading.Event()
        self._gave_up = threading.Event()
        self._thread = threading.Thread(target=self._work, name="raysearch-tracking", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Number of calls that wait or are being carried out."""
        return self._calls.qsize() + self._busy

    def put(self, function: Callable[..., object], *arguments: Any) -> None:
        """Queue a call; returns at once. It must be repeatable: it may be tried again after a failure."""
        self._calls.put(functools.partial(function, *arguments))

    def close(self) -> None:
        """Wait for the backlog; give up after `patience_s` of silence and report once what was lost."""
        self._calls.put(None)
        self._closing.set()
        start = time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.05)
            if self.backlog > 1 and time.monotonic() - start > 2:
                self._warn("backlog", f"waiting for {self.backlog:,} records to be written to the tracker")
            silent = self._silent_since
            waited = 0.0 if silent is None else time.monotonic() - max(silent, start)
            if waited > self._patience_s:
                self._gave_up.set()
            hung = self._busy and time.monotonic() - max(self._began, start) > 20 * self._patience_s
            if hung or waited > 2 * self._patience_s:  # inside one request: leave the thread behind, it is a daemon
                self.n_lost += max(self.backlog - 1, 0)  # the closing None is no call
                break
        if self.n_lost:
            log.warning("%d records could not be written to the tracker; the journal has them. %s", *self._lost())

    def _lost(self) -> tuple[int, str]:
        return self.n_lost, self._hint

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            self._began, self._busy = time.monotonic(), True
            if self._gave_up.is_set() or not self._carry_out(call):
                self.n_lost += 1
            self._busy = False

    def _carry_out(self, call: Call) -> bool:
        """Try until it succeeds; False if the call is refused for good or the writer gave up."""
        n_refused, pause_s = 0, 0.5
        while True:
            try:
                call()
            except Exception as error:
                final = self._final(error)
                if final or self._answers():
                    n_refused += 1
                    self._silent_since = None
                    self._warn("refused", f"the tracker refused a record: {in_short(error)}")
                    if final or n_refused >= ATTEMPTS_WHILE_ALIVE or self._n_refused >= REFUSED_IN_A_ROW:
                        self._n_refused += 1
                        return False
                elif self._silent_since is None:
                    self._silent_since = time.monotonic()
                    self._warn("silent", f"the tracker does not answer, the race goes on: {in_short(error)}")
            else:
                self._silent_since, self._n_refused = None, 0
                return True
            self._began = time.monotonic()
            if not self._pause(pause_s):
                return False
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _pause(self, pause_s: float) -> bool:
        """Wait before the next attempt, a second at most once the race is over; False if the writer gave up."""
        end = time.monotonic() + pause_s
        while time.monotonic() < end and not self._gave_up.wait(min(pause_s, 0.5)):
            if self._closing.is_set():
                break
        return not self._gave_up.is_set()

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
