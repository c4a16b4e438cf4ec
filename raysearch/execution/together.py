"""Carrying a pack out, in whatever process: results of its members, and who was screened out."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from raysearch.execution.watch import ScreenedOut, Watch
from raysearch.records import Configuration, InstanceKey, InstanceResult, PackGain

_log = logging.getLogger(__name__)

Screened = tuple[InstanceKey, tuple[float, ...], float, float, str]
"""A first instance that ended at a rung: key, curve, cutoff, seconds, node."""


@dataclass
class Member:
    """One instance of a pack, or several seeds of a configuration that train one after the other, and its report."""

    configuration: Configuration
    seeds: tuple[int, ...]
    watch: Watch

    @property
    def keys(self) -> tuple[InstanceKey, ...]:
        """Its instances."""
        return tuple(InstanceKey(self.configuration.id, seed) for seed in self.seeds)


@dataclass
class Outcome:
    """What came of a pack."""

    results: Any = ()
    screened: list[Screened] = field(default_factory=list)


def train(
    workload: Any,
    members: Sequence[Member],
    data: Any,
    is_ended: Callable[[InstanceKey], bool] = lambda key: False,
    monotonic: Callable[[], float] = time.monotonic,
) -> Outcome:
    """Train the members, together where there are several; raises what the workload raises.

    `is_ended(key)` tells, after each epoch, whether nobody waits for a member of a pack any more: it leaves the pack.
    """
    start = monotonic()
    if len(members) == 1:
        (one,) = members
        try:
            return Outcome(workload.train(one.configuration, one.seeds, one.watch, data))
        except ScreenedOut as out:
            return Outcome((), [_screened(one.keys[0], out, monotonic() - start)])
    each = [(member, seed) for member in members for seed in member.seeds]
    watches = [member.watch if len(member.seeds) == 1 else member.watch.alike() for member, _ in each]
    keys = [InstanceKey(member.configuration.id, seed) for member, seed in each]
    report = _Report(keys, watches, is_ended, lambda: monotonic() - start)
    pairs = [(member.configuration, seed) for member, seed in each]
    results: list[InstanceResult] = [result for _, result in workload.train_pack(pairs, report, data)]
    return Outcome(results, report.screened)


def measured_gain(workload: Any, member: Member, data: Any) -> PackGain:
    """Return what packs of a member's architecture gain in this process; none where that cannot be found out."""
    try:
        gain: PackGain = workload.measure_pack(member.configuration, data)
    except Exception as error:
        _log.warning("instances as those of %s train alone: %r", member.configuration.id, error)
        return PackGain(1)
    return gain


class _Report:
    """The report of a pack: each member has its own watch."""

    def __init__(
        self,
        keys: Sequence[InstanceKey],
        watches: Sequence[Watch],
        is_ended: Callable[[InstanceKey], bool],
        seconds: Callable[[], float],
    ) -> None:
        self._keys, self._watches, self._is_ended, self._seconds = keys, watches, is_ended, seconds
        self.checkpoints = watches[0].checkpoints
        self.screened: list[Screened] = []

    def __call__(self, member: int, epoch: int, loss: float) -> bool:
        """Return whether the member goes on."""
        key = self._keys[member]
        if self._is_ended(key):
            return False
        try:
            self._watches[member](epoch, loss)
        except ScreenedOut as out:
            self.screened.append(_screened(key, out, self._seconds()))
            return False
        return True


def _screened(key: InstanceKey, out: ScreenedOut, seconds: float) -> Screened:
    return key, out.curve, out.cutoff, seconds, socket.gethostname()
