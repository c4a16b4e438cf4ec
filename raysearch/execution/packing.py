"""What one trial trains: requests of the race that can train together, in the order of asking."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysearch.records import InstanceKey, TrialRequest
from raysearch.workloads import TrainsPacks, Workload

_ALONE, _TOGETHER = "alone", "together"


@dataclass(frozen=True)
class Pack:
    """Requests that share a trial: one, or several of equal pack keys."""

    requests: tuple[TrialRequest, ...]

    @property
    def keys(self) -> tuple[InstanceKey, ...]:
        """The instances, request by request."""
        return tuple(key for request in self.requests for key in request.keys)


class Packer:
    """Sorts requests into packs of `width` instances.

    Args:
        width: instances of a pack; 1 packs nothing.
        pack_key: parameters -> key; configurations of equal keys can train together, None means alone.
    """

    def __init__(self, width: int = 1, pack_key: Callable[[Mapping[str, Any]], Hashable | None] | None = None) -> None:
        self.width = width if pack_key is not None else 1
        self._pack_key = pack_key
        self._waiting: dict[tuple[str, Hashable], list[TrialRequest]] = {}
        self._n_alone = 0
        self._apart: set[InstanceKey] = set()

    @classmethod
    def of(cls, workload: Workload, width: int) -> Packer:
        """Return what packs the instances of a workload, where it can train packs."""
        return cls(width, workload.pack_key if isinstance(workload, TrainsPacks) else None)

    def add(self, requests: Iterable[TrialRequest]) -> None:
        """Take in requests."""
        for request in requests:
            self._waiting.setdefault(self._key_of(request), []).append(request)

    def take(self, *, whole: bool) -> Pack | None:
        """Return a pack that is `whole`, or the oldest as it is; None where there is none."""
        for key, requests in self._waiting.items():
            n_first = self._n_first(requests)
            if key[0] == _ALONE or not whole or n_first is not None:
                first, left = requests[:n_first], requests[n_first:] if n_first is not None else []
                del self._waiting[key]
                if left:
                    self._waiting[key] = left
                return Pack(tuple(first))
        return None

    def _n_first(self, requests: Sequence[TrialRequest]) -> int | None:
        """Return how many of the requests fill a pack, None where they do not."""
        n_instances = 0
        for n, request in enumerate(requests, start=1):
            n_instances += len(request.seeds)
            if n_instances >= self.width:
                return n
        return None

    def keep_apart(self, keys: Sequence[InstanceKey]) -> None:
        """Never pack these instances again: their pack broke, and one of them may be why."""
        self._apart.update(keys)

    def _key_of(self, request: TrialRequest) -> tuple[str, Hashable]:
        own: Hashable | None = None
        if self.width > 1 and self._pack_key is not None and self._apart.isdisjoint(request.keys):
            own = self._pack_key(request.configuration.parameters)
        if own is not None:
            return _TOGETHER, own
        self._n_alone += 1
        return _ALONE, self._n_alone
