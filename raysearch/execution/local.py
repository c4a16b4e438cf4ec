"""Executor `local`: in this process, one by one, for a debugger and for small searches."""

from __future__ import annotations

import socket
import time
import traceback
from dataclasses import dataclass
from typing import Any

from raysearch.errors import StuckError
from raysearch.execution.conductor import Conductor
from raysearch.execution.watch import ScreenedOut, Watch
from raysearch.records import DONE, Signal, Train
from raysearch.registry import Validated
from raysearch.workloads import Workload


@dataclass(frozen=True)
class Local(Validated):
    """Trains one instance after another in the calling process; breakpoints work, nothing runs in parallel.

    `debug` lets a workload's first exception through at once instead of counting it as a failure to be tried again.
    """

    debug: bool = False

    def check(self, workload: Workload | None = None) -> None:
        """Do nothing: this process is here."""

    def run(self, conductor: Conductor, workload: Workload) -> None:
        """Train what the race asks for until it is done."""
        data = workload.prepare()
        conductor.begin(1)
        while (answer := conductor.ask(1)) is not DONE:
            if isinstance(answer, Signal):  # the race itself tells where its rule is stuck; this would loop for ever
                raise StuckError("the race waits for instances that this executor does not train")
            for train in answer:
                self._train(train, conductor, workload, data)
            if conductor.failure is not None:
                raise conductor.failure

    def _train(self, train: Train, conductor: Conductor, workload: Workload, data: Any) -> None:
        start = time.monotonic()
        try:
            results = workload.train(train.configuration, train.seeds, Watch(train.cutoffs), data)
        except ScreenedOut as out:
            seconds = time.monotonic() - start
            conductor.screen_out(train.keys[0], out.curve, out.cutoff, seconds, socket.gethostname())
            return
        except (Exception, SystemExit):  # as on Ray, a training that calls sys.exit ends itself, not the search
            if self.debug:
                raise
            conductor.fail_block(train, traceback.format_exc(), socket.gethostname())
            return
        conductor.complete(train, results, socket.gethostname())
