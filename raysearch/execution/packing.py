"""What one trial trains: requests of the race that can train together, in the order of asking."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from annotated_types import Ge

from raysearch.records import InstanceKey, PackGain, TrialRequest
from raysearch.workloads import MeasuresPacks, TrainsPacks, Workload

Width = Annotated[int, Ge(1)] | Literal["auto"]
"""Instances of a pack: so many, 1 for none; or as many as pay, by what workers measure of each architecture."""
_ALONE, _TOGETHER = "alone", "together"
_Key = tuple[str, Hashable]
_LEAST_SHARE = 8
"""Narrower packs would gain less than it costs a slot to wait for another's."""


@dataclass(frozen=True)
class Pack:
    """Requests that share a trial: one, or several of equal pack keys.

    Whoever trains it measures first what packs of its architecture gain, where `measures` names that architecture.
    """

    requests: tuple[TrialRequest, ...]
    measures: Hashable | None = None

    @cached_property
    def keys(self) -> tuple[InstanceKey, ...]:
        """The instances, request by request."""
        return tuple([key for request in self.requests for key in request.keys])


class Packer:
    """Sorts requests into packs of at most `width` instances, of fewer where each slot's share of them is less.

    Under `auto` the first instance of an architecture trains alone, and its worker measures what packs of it gain;
    until that is known the others train alone, too.

    Args:
        width: instances of a pack; 1 packs nothing.
        pack_key: parameters -> key; configurations of equal keys can train together, None means alone.
        n_slots: how many trials can run at once.
    """

    def __init__(
        self,
        width: int | Literal["auto"] = 1,
        pack_key: Callable[[Mapping[str, Any]], Hashable | None] | None = None,
        n_slots: int = 1,
    ) -> None:
        self._is_auto = width == "auto" and pack_key is not None
        self.width = 1 if pack_key is None or width == "auto" else width
        """Of the packs that were asked for; 1 under `auto`, on whose measurements no decision may depend."""
        self._pack_key, self._n_slots, self._share = pack_key, n_slots, 0
        self._waiting: dict[_Key, list[TrialRequest]] = {}
        self._n_waiting = self._n_alone = 0
        self._apart: set[InstanceKey] = set()
        self._measured: dict[Hashable, int | None] = {}
        """Width by architecture under `auto`, None of one that is being measured."""

    @classmethod
    def of(cls, workload: Workload, width: int | Literal["auto"], n_slots: int = 1) -> Packer:
        """Return what packs the instances of a workload, where it can train packs."""
        able: Any = MeasuresPacks if width == "auto" else TrainsPacks
        return cls(width, workload.pack_key if isinstance(workload, able) else None, n_slots)

    @property
    def n_wanted(self) -> int:
        """How many more requests packs want to be made of."""
        widest = max((width or 1 for width in self._measured.values()), default=self.width)
        return 1 if widest == 1 else max(widest * self._n_slots - self._n_waiting, widest)

    def pack_nothing_unasked(self) -> None:
        """Train each instance alone unless packs of a width were asked for."""
        self._is_auto = False

    def add(self, requests: Iterable[TrialRequest]) -> None:
        """Take in requests."""
        for request in requests:
            self._waiting.setdefault(self._key_of(request), []).append(request)
            self._n_waiting += len(request.seeds)
            self._share = 0

    def take(self, *, whole: bool) -> Pack | None:
        """Return a pack that is `whole`, or the oldest as it is; None where there is none."""
        for kind, architecture in self._waiting:
            if self._is_auto and kind == _TOGETHER and architecture not in self._measured:
                self._measured[architecture] = None
                return self._taken((kind, architecture), 1, architecture)
        if not whole:
            self._share = self._share or max(-(-self._n_waiting // self._n_slots), _LEAST_SHARE)
        for key, requests in self._waiting.items():
            width = self._width_of(key)
            n_first = self._n_first(key, width if whole else min(width, self._share))
            if not whole:
                return self._taken(key, n_first or len(requests))
            if n_first is not None and (width == 1 or self._n_waiting >= width * self._n_slots):
                return self._taken(key, n_first)
        return None

    def empty(self) -> list[InstanceKey]:
        """Give up what waits to be taken, and return its instances."""
        waiting, self._waiting, self._n_waiting = self._waiting, {}, 0
        return [key for requests in waiting.values() for request in requests for key in request.keys]

    def keep_apart(self, keys: Sequence[InstanceKey]) -> None:
        """Never pack these instances again: their pack broke, and one of them may be why."""
        self._apart.update(keys)

    def learn(self, pack: Pack, gain: PackGain | None) -> None:
        """Note what came of a pack that measures: its gain, or None where another one has to measure."""
        if pack.measures is None or self._measured.get(pack.measures, 0) is not None:
            return
        del self._measured[pack.measures]
        if gain is not None:
            self._measured[pack.measures] = max(gain.width, 1)

    def _width_of(self, key: _Key) -> int:
        if key[0] == _ALONE:
            return 1
        return self._measured.get(key[1]) or 1 if self._is_auto else self.width

    def _n_first(self, key: _Key, width: int) -> int | None:
        """Return how many of the first requests make a pack of this width, None where all do not."""
        n_instances = 0
        for n, request in enumerate(self._waiting[key], start=1):
            n_instances += len(request.seeds)
            if n_instances >= width:
                return n
        return None

    def _taken(self, key: _Key, n: int, measures: Hashable | None = None) -> Pack:
        requests = self._waiting.pop(key)
        first, left = tuple(requests[:n]), requests[n:]
        if left:  # behind those of other keys: each has its turn
            self._waiting[key] = left
        self._n_waiting -= sum(len(request.seeds) for request in first)
        return Pack(first, measures)

    def _key_of(self, request: TrialRequest) -> _Key:
        own: Hashable | None = None
        packs = self._is_auto or self.width > 1
        if packs and self._pack_key is not None and self._apart.isdisjoint(request.keys):
            own = self._pack_key(request.configuration.parameters)
        if own is not None:
            return _TOGETHER, own
        self._n_alone += 1
        return _ALONE, self._n_alone
