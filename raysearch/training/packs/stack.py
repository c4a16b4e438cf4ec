"""Networks of one architecture whose weights lie side by side: a row of numbers for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

LANES = 16
"""Numbers that a processor's widest vectors hold: torch's kernels round the rest of a tensor in their own way.

Kernels may also sum in another order where a tensor does not begin at a multiple of so many, as torch's own always do.
"""
_ALIGNMENT_BYTES = 64


def aligned(values: Tensor) -> Tensor:
    """Return `values`, or a copy of them that begins where tensors do that torch has made."""
    return values if values.data_ptr() % _ALIGNMENT_BYTES == 0 or values.device.type != "cpu" else values.clone()


class CannotPack(Exception):
    """These networks cannot train together; each of them can alone."""


@dataclass(frozen=True)
class RunLocation:
    """Where in a row a tensor lies, and its shape and strides there."""

    start: int
    shape: torch.Size
    stride: tuple[int, ...]

    @property
    def end(self) -> int:
        """The first number after it."""
        return self.start + self.shape.numel()

    def of(self, rows: Tensor, row: int) -> Tensor:
        """Return one row's tensor, a view."""
        start = rows.storage_offset() + row * rows.stride(0) + self.start
        return rows.as_strided(self.shape, self.stride, start)

    def of_all(self, rows: Tensor) -> Tensor:
        """Return the tensors of all rows, `(n_rows, ...)`, a view."""
        start = rows.storage_offset() + self.start
        return rows.as_strided((len(rows), *self.shape), (rows.stride(0), *self.stride), start)


Places = Mapping[str, RunLocation]
Values = TypeVar("Values", Tensor, tuple[Any, ...])


class Span:
    """Those of `n` networks, side by side, that are at work: all of them but in the context `only`."""

    def __init__(self, n: int) -> None:
        self._all = self._now = slice(0, n)

    def __len__(self) -> int:
        return int(self._now.stop - self._now.start)

    def of(self, values: Values) -> Values:
        """Return the part of `values`, one for each network, that belongs to those at work."""
        return values if self._now is self._all else values[self._now]

    @contextmanager
    def only(self, networks: slice) -> Iterator[None]:
        """Let only these networks work."""
        before, self._now = self._now, self._all if networks == self._all else networks
        try:
            yield
        finally:
            self._now = before


class Rows(nn.Module):
    """The numbers of several networks: `weights` `(n_networks, n)`, and buffers by type."""

    def __init__(self, weights: Tensor, buffers: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.Parameter(weights, requires_grad=False)
        for name, values in buffers.items():
            self.register_buffer(name, values)


class Stack:
    """The weights and buffers of `modules` in common rows, into which the modules look from now on.

    Raises CannotPack where they differ in structure, or have weights of several types.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        self.modules = tuple(modules)
        named = [dict(module.named_parameters()) for module in modules]
        self.places = _places(named)
        buffered = [_buffers(module) for module in modules]
        kinds = sorted({_kind(value) for value in buffered[0].values()})
        self.buffer_places = {
            kind: _places([{n: v for n, v in own.items() if _kind(v) == kind} for own in buffered]) for kind in kinds
        }
        if not self.places:
            raise CannotPack("networks without weights")
        buffers = {kind: _side_by_side(buffered, places) for kind, places in self.buffer_places.items()}
        self.rows = Rows(_side_by_side(named, self.places), buffers)
        self.gradients = torch.zeros_like(self.rows.weights)
        for number, module in enumerate(modules):
            self.look(module, number, self.rows)

    def __len__(self) -> int:
        return len(self.modules)

    @property
    def weights(self) -> Tensor:
        """All weights `(n_networks, n)`."""
        return self.rows.weights.data

    def look(self, module: nn.Module, number: int, rows: Rows) -> nn.Module:
        """Let `module` look at the numbers of network `number` in `rows`, and return it."""
        own = {**dict(module.named_parameters()), **_buffers(module)}
        for name, values in self.named(number, rows).items():
            own[name].data = values
        return module

    def named(self, number: int, rows: Rows) -> dict[str, Tensor]:
        """Return the weights and buffers of network `number` in `rows` by name, as views."""
        found = {name: place.of(rows.weights.data, number) for name, place in self.places.items()}
        for kind, places in self.buffer_places.items():
            found |= {name: place.of(rows.get_buffer(kind), number) for name, place in places.items()}
        return found

    def segments(self) -> list[tuple[int, int]]:
        """Return the stretches of a row, start and end, that kernels round as they round its tensors one by one.

        All tensors of a stretch but its last one fill the processor's vectors. None where all tensors do, and on a GPU,
        which has no vectors to fill.
        """
        places = sorted(self.places.values(), key=lambda place: place.start)
        if self.weights.device.type != "cpu" or not any(place.shape.numel() % LANES for place in places):
            return []
        found, start = [], 0
        for place, following in zip(places, [*places[1:], None], strict=True):
            if place.shape.numel() % LANES or following is None:
                found.append((start, place.end))
                start = following.start if following else 0
        return found


def _places(named: Sequence[Mapping[str, Tensor]]) -> dict[str, RunLocation]:
    """Return the place of each name in a row; what fills the processor's vectors comes first."""
    first = named[0]
    if any(_shapes(other) != _shapes(first) for other in named):
        raise CannotPack("networks of different structure")
    if len({(value.dtype, value.device) for value in first.values()}) > 1:
        raise CannotPack("weights of several types, or on several devices")
    found, start = {}, 0
    for name in sorted(first, key=lambda name: bool(first[name].numel() % LANES)):
        value = first[name]
        found[name] = RunLocation(start, value.shape, _dense_strides(value))
        start = -(-found[name].end // LANES) * LANES
    return {name: found[name] for name in first}


def _side_by_side(named: Sequence[Mapping[str, Tensor]], places: Places) -> Tensor:
    like = named[0][next(iter(places))]
    size = -(-max(place.end for place in places.values()) // LANES) * LANES
    rows = torch.zeros(len(named), size, dtype=like.dtype, device=like.device)
    for number, tensors in enumerate(named):
        for name, place in places.items():
            place.of(rows, number).copy_(tensors[name].detach())
    return rows


def _shapes(named: Mapping[str, Tensor]) -> list[tuple[str, torch.Size, torch.dtype]]:
    return [(name, value.shape, value.dtype) for name, value in named.items()]


def _dense_strides(value: Tensor) -> tuple[int, ...]:
    """Return its strides, those of a tensor that lies in one piece, whatever the order of its dimensions."""
    return torch.empty_like(value, device="meta", memory_format=torch.preserve_format).stride()


def _buffers(module: nn.Module) -> dict[str, Tensor]:
    return dict(module.named_buffers())


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")
