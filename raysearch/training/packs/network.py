"""One network for all members of a pack: their examples go through it as one batch, one member's after the other's."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.packs.products import Linear
from raysearch.training.packs.stack import LANES, CannotPack, Span, Stack, aligned
from raysearch.training.score import SCORING_BATCH

_FREE = (nn.Identity, nn.ReLU, nn.LeakyReLU, nn.Tanh, nn.Hardtanh, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d)
"""Modules without weights that give an example the same bits in whatever batch it stands."""
_FROM_FIRST = (nn.Flatten, nn.Unflatten)
"""Those too, if they leave the dimension of the examples alone."""
_BY_NUMBER = (nn.ELU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Softplus, nn.Mish, nn.SELU, nn.CELU, nn.Hardswish, nn.LogSigmoid)
"""Functions of single numbers that torch rounds otherwise where they do not fill the processor's vectors."""
_SCORED_NUMBERS = 2**21
"""Of the inputs of those networks that are scored together: their activations should stay in the caches."""
_DRAWING = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.RReLU)


class Draws(nn.Module):
    """A module that draws from torch's own generator in its `forward`: say so by deriving from it.

    In a pack each member's draws come from that member's generator.
    """


class Network:
    """The networks of a stack as one: `(n_networks * n, ...) -> (n_networks * n, ...)`.

    `generators` are those that the networks' random numbers come from. Raises CannotPack where a module's structure
    does not allow it.
    """

    def __init__(self, stack: Stack, template: nn.Module, generators: Sequence[torch.Generator]) -> None:
        self.stack, self._span = stack, Span(len(stack))
        self._shared: list[tuple[Tensor, int]] = []
        self._parameters: list[tuple[str, Tensor]] = []
        self._turns: list[nn.Module] = []
        self._generators = tuple(generators)
        self._module = self._packed(copy.deepcopy(template), "")
        self._taken = self._targets()

    def __call__(self, inputs: Tensor, networks: slice | None = None) -> Tensor:
        """Return the answers to the examples of all members, or of those of some `networks` of the stack."""
        if networks is None:
            found: Tensor = self._module(inputs)
            return found
        with self._span.only(networks):
            found = self._module(inputs)
            return found

    @property
    def is_batched(self) -> bool:
        """Whether nothing in the networks takes turns: only then is it worth it to answer many questions together."""
        return not self._turns

    def train(self) -> None:
        """Put all networks into training mode."""
        self._module.train()
        for module in self._turns:
            module.train()

    @torch.no_grad()
    def outputs(self, inputs: Tensor) -> Tensor:
        """Return what all networks answer to the same inputs, in evaluation mode, `(n_networks, n, ...)`."""
        self._module.eval()
        parts, n_networks, found = torch.split(inputs, SCORING_BATCH), len(self.stack), []
        at_once = max(1, _SCORED_NUMBERS // parts[0].numel())
        for first in range(0, n_networks, at_once):
            span = slice(first, min(first + at_once, n_networks))
            n = span.stop - span.start
            answers = [self(part.expand(n, *part.shape).flatten(0, 1), span) for part in parts]
            found.append(torch.cat([values.view(n, -1, *values.shape[1:]) for values in answers], dim=1))
        return torch.cat(found)

    def forget_gradients(self) -> None:
        """Drop the gradients of the step before."""
        for _, parameter in self._taken:
            parameter.grad = None

    def gather_gradients(self) -> Tensor:
        """Return the gradients of all members, `(n_networks, n)`; raises CannotPack where a weight has none."""
        found = [parameter.grad for _, parameter in self._taken if parameter.grad is not None]
        if len(found) < len(self._taken):
            raise CannotPack("a weight that the loss does not depend on")
        torch._foreach_copy_([target for target, _ in self._taken], found)
        return self.stack.gradients

    def check_buffers(self) -> None:
        """Raise CannotPack if the network changes a buffer that the members have in common."""
        if any(buffer._version != version for buffer, version in self._shared):
            raise CannotPack("a buffer that the network changes")

    def _targets(self) -> list[tuple[Tensor, Tensor]]:
        """Return, for each parameter that gets a gradient, where in the common rows that gradient belongs."""
        places, gradients = self.stack.places, self.stack.gradients
        found = [(places[name].of_all(gradients), parameter) for name, parameter in self._parameters]
        alone = {id(parameter): name for name, parameter in self._parameters}
        names = {name for name in places if name not in alone.values()}
        for number, module in enumerate(self.stack.modules):
            own = dict(module.named_parameters())
            found += [(places[name].of(gradients, number), own[name]) for name in names]
        return found

    def _packed(self, module: nn.Module, name: str) -> nn.Module:
        """Return the module that does for all members what the one of this name does for one."""
        kind = type(module)
        if kind is nn.Linear:
            return self._linear(name)
        if kind is nn.Dropout:
            rates = tuple(self._of(number, name).p for number in range(len(self.stack)))
            return _Dropout(rates, self._generators, self._span)
        if kind in _FREE or (kind in _FROM_FIRST and _leaves_examples(module)):
            return module
        if kind in _BY_NUMBER:
            return _ByNumber(module, self._span)
        own = [*module.parameters(recurse=False)]
        if own or not [*module.children()]:
            return self._in_turns(name, draws=isinstance(module, Draws) or kind in _DRAWING)
        for path, buffer in module.named_buffers(recurse=False):
            others = [self._of(number, name).get_buffer(path) for number in range(len(self.stack))]
            if not all(torch.equal(buffer, other) for other in others):
                raise CannotPack(f"a buffer {path!r} that differs from member to member")
            self._shared.append((buffer, buffer._version))
        for child_name, child in list(module.named_children()):
            setattr(module, child_name, self._packed(child, f"{name}.{child_name}".lstrip(".")))
        return module

    def _linear(self, name: str) -> Linear:
        found: dict[str, nn.Parameter | None] = {}
        for kind in ("weight", "bias"):
            path = f"{name}.{kind}".lstrip(".")
            place = self.stack.places.get(path)
            found[kind] = None if place is None else nn.Parameter(place.of_all(self.stack.weights))
        for kind, values in found.items():
            if values is not None:
                self._parameters.append((f"{name}.{kind}".lstrip("."), values))
        if found["weight"] is None:
            raise CannotPack("two layers with the same weights")
        return Linear(found["weight"], found["bias"], self._span)

    def _in_turns(self, name: str, draws: bool) -> nn.Module:
        modules = [self._of(number, name) for number in range(len(self.stack))]
        self._turns += modules
        return _InTurns(tuple(modules), self._generators if draws else None, self._span)

    def _of(self, number: int, name: str) -> Any:
        return self.stack.modules[number].get_submodule(name)


class _InTurns(nn.Module):
    """Each member's own module for its own examples, one after the other."""

    def __init__(
        self, modules: tuple[nn.Module, ...], generators: tuple[torch.Generator, ...] | None, span: Span
    ) -> None:
        super().__init__()
        self._members, self._draw_from, self._span = modules, generators, span  # in a tuple they are no submodules

    def forward(self, values: Tensor) -> Tensor:
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


class _Dropout(nn.Module):
    """Dropout of each member's own rate, drawn from its own generator as torch draws for a single network."""

    def __init__(self, rates: tuple[float, ...], generators: tuple[torch.Generator, ...], span: Span) -> None:
        super().__init__()
        self._rates, self._draw_from, self._span = rates, generators, span

    def forward(self, values: Tensor) -> Tensor:
        if not self.training or not any(self._rates):
            return values
        factors = torch.empty_like(values)
        rates, generators = self._span.of(self._rates), self._span.of(self._draw_from)
        for part, rate, generator in zip(
            torch.split(factors, len(values) // len(rates)), rates, generators, strict=True
        ):
            if rate == 0.0:
                part.fill_(1.0)
            elif rate == 1.0:
                part.zero_()
            else:
                part.bernoulli_(1.0 - rate, generator=generator).div_(1.0 - rate)
        return values * factors


class _ByNumber(nn.Module):
    """A function of single numbers: of all at once where each member's fill the processor's vectors, else in turns."""

    def __init__(self, function: nn.Module, span: Span) -> None:
        super().__init__()
        self._function, self._span = function, span

    def forward(self, values: Tensor) -> Tensor:
        if values.numel() // len(self._span) % (2 * LANES) == 0:
            found: Tensor = self._function(values)
            return found
        return torch.cat([self._function(part) for part in torch.split(values, len(values) // len(self._span))])


def _leaves_examples(module: Any) -> bool:
    first = module.start_dim if isinstance(module, nn.Flatten) else module.dim
    return isinstance(first, int) and first >= 1
