"""Executor `local`: in this process, one by one, for a debugger and for small searches."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raysearch.errors import StuckError
from raysearch.execution.packing import Pack, Packer, Width
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.together import Member, measured_gain, train
from raysearch.execution.watch import Watch
from raysearch.records import DONE
from raysearch.registry import Validated
from raysearch.workloads import Workload

_PATIENCE_S = 0.05


class _EndedError(BaseException):
    """Ends a training from its report. No Exception, so that no workload's handler swallows it."""


@dataclass(frozen=True)
class Local(Validated):
    """Trains one instance after another in the calling process; breakpoints work, nothing runs in parallel.

    Args:
        debug: lets a workload's first exception through at once instead of counting it as a failure to be tried again.
        pack: so many instances train together, for workloads that can: batched kernels, the same losses; 1 packs none,
            `auto` as many as pay, by a measurement of each architecture.
    """

    debug: bool = False
    pack: Width = 1

    def check(self, workload: Workload | None = None) -> None:
        """Do nothing: this process is here."""

    def run(self, runner: RaceRunner, workload: Workload) -> None:
        """Train what the race asks for until it is done."""
        data = workload.prepare()
        runner.begin(1, Packer.of(workload, self.pack))
        while (answer := runner.ask_pack()) is not DONE:
            if isinstance(answer, Pack):
                self._train(answer, runner, workload, data)
            elif runner.held:
                runner.clock.sleep(_PATIENCE_S)
            elif runner.failure is None:  # the race itself tells where its rule is stuck; this would loop for ever
                raise StuckError("the race waits for instances that this executor does not train")
            if runner.failure is not None:
                raise runner.failure

    def _train(self, pack: Pack, runner: RaceRunner, workload: Workload, data: Any) -> None:
        look = _looking(runner, pack)
        members = [Member(one.configuration, one.seeds, Watch(one.cutoffs, look)) for one in pack.requests]
        try:
            gain = None if pack.measures is None else measured_gain(workload, members[0], data)
            outcome = train(workload, members, data, lambda key: not runner.awaited(key), runner.clock.monotonic)
        except _EndedError:  # it is trained again, if anybody wants it
            runner.give_back(pack)
            return
        except (Exception, SystemExit):  # as on Ray, a training that calls sys.exit ends itself, not the search
            if self.debug:
                raise
            runner.fail_pack(pack, traceback.format_exc(), socket.gethostname())
            return
        runner.complete(pack, outcome.results, socket.gethostname(), outcome.screened, gain)


def _looking(runner: RaceRunner, pack: Pack) -> Callable[[int, float], None]:
    """Return what a training calls at every epoch, so that people are heard in long ones."""

    def look(epoch: int, loss: float) -> None:
        runner.look()
        if runner.failure is not None or not any(map(runner.awaited, pack.keys)):
            raise _EndedError

    return look
