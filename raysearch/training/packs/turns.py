"""Modules that know of the members of a pack: each member's own module in its turn, and random numbers of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.packs.stack import LANES, Span, aligned


class Draws(nn.Module):
    """A module that draws from torch's own generator in its `forward`: say so by deriving from it.

    In a pack each member's draws come from that member's generator.
    """


class InTurns(nn.Module):
    """Each member's own module for its own examples, one after the other."""

    def __init__(
        self, modules: tuple[nn.Module, ...], generators: tuple[torch.Generator, ...] | None, span: Span
    ) -> None:
        super().__init__()
        self._members, self._draw_from, self._span = modules, generators, span  # in a tuple they are no submodules

    def forward(self, values: Tensor) -> Tensor:
        """Return what the modules make of their parts."""
        members, parts = self._span.of(self._members), torch.split(values, len(values) // len(self._span))
        generators = self._span.of(self._draw_from) if self._draw_from and self.training else None
        found = []
        for number, (module, part) in enumerate(zip(members, parts, strict=True)):
            with drawing_from(generators[number]) if generators else nullcontext():
                found.append(_as_made(module(_as_made(part))))
        return torch.cat(found)


def _as_made(part: Tensor) -> Tensor:
    """Return one member's part of a batch, aligned like a tensor of its own, and its gradient too."""
    if part.device.type != "cpu" or part.numel() % LANES == 0:
        return part
    return _Aligned.apply(part)  # type: ignore[no-untyped-call,no-any-return]


class _Aligned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        return values.view_as(values) if aligned(values) is values else values.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return aligned(gradients[0])


@contextmanager
def drawing_from(generator: torch.Generator) -> Iterator[None]:
    """Let torch's own generator continue `generator` in this context, and `generator` go on from there after it."""
    before = random_state(generator.device)
    _set_random_state(generator.device, generator.get_state())
    try:
        yield
    finally:
        generator.set_state(random_state(generator.device))
        _set_random_state(generator.device, before)


def random_state(device: torch.device) -> Tensor:
    """Return the state of torch's own generator on a device."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def _set_random_state(device: torch.device, state: Tensor) -> None:
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


class Dropout(nn.Module):
    """Dropout of each member's own rate, drawn from its own generator as torch draws for a single network."""

    def __init__(self, rates: tuple[float, ...], generators: tuple[torch.Generator, ...], span: Span) -> None:
        super().__init__()
        self._rates, self._draw_from, self._span = rates, generators, span
        self._factors: tuple[tuple[Any, ...], Tensor] | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Return the values without those that are dropped, the others raised for them."""
        if not self.training or not any(self._rates):
            return values
        factors = torch.empty_like(values)
        rates, generators = self._span.of(self._rates), self._span.of(self._draw_from)
        by_member = factors.view(len(rates), -1)
        for part, rate, generator in zip(by_member, rates, generators, strict=True):
            if rate == 0.0:
                part.fill_(1.0)
            elif rate == 1.0:
                part.zero_()
            else:
                part.bernoulli_(1.0 - rate, generator=generator)
        by_member.mul_(self._raised(values, rates)[:, None])
        return values * factors

    def _raised(self, values: Tensor, rates: tuple[float, ...]) -> Tensor:
        """Return what those that stay are raised to, `(n_members,)`: one, divided as torch divides for one network."""
        kind = values.dtype, values.device, rates
        if self._factors is None or self._factors[0] != kind:
            ones = [values.new_ones(1) if rate == 1.0 else values.new_ones(1).div_(1.0 - rate) for rate in rates]
            self._factors = kind, torch.cat(ones)
        return self._factors[1]


class ByNumber(nn.Module):
    """A function of single numbers: of all at once where each member's fill the processor's vectors, else in turns."""

    def __init__(self, function: nn.Module, span: Span) -> None:
        super().__init__()
        self._function, self._span = function, span

    def forward(self, values: Tensor) -> Tensor:
        """Return the function of the values."""
        if values.numel() // len(self._span) % (2 * LANES) == 0:
            found: Tensor = self._function(values)
            return found
        return torch.cat([self._function(part) for part in torch.split(values, len(values) // len(self._span))])
