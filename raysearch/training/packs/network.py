"""One network for all members of a pack: their examples go through it as one batch, one member's after the other's."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.packs.grouped import grouped
from raysearch.training.packs.products import Linear
from raysearch.training.packs.stack import CannotPack, Span, Stack
from raysearch.training.packs.turns import ByNumber, Draws, Dropout, InTurns
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


def takes_turns(device: torch.device) -> bool:
    """Return whether members take turns in layers whose grouped kernels are slow, and round otherwise."""
    return device.type == "cpu"


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
        stacked = partial(self._stacked, name)
        if kind is nn.Linear:
            return Linear(stacked("weight"), stacked("bias"), self._span)
        together = None if takes_turns(self.stack.weights.device) else grouped(module, stacked, self._span)
        if together is not None:
            return together
        if kind is nn.Dropout:
            rates = tuple(self._of(number, name).p for number in range(len(self.stack)))
            return Dropout(rates, self._generators, self._span)
        if kind in _FREE or (kind in _FROM_FIRST and _leaves_examples(module)):
            return module
        if kind in _BY_NUMBER:
            return ByNumber(module, self._span)
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

    def _stacked(self, module: str, name: str) -> Any:
        """Return the parameters or buffers of one name of all networks, `(n_networks, ...)`, None without any."""
        path, stack = f"{module}.{name}".lstrip("."), self.stack
        if path in stack.places:
            parameter = nn.Parameter(stack.places[path].of_all(stack.weights))
            self._parameters.append((path, parameter))
            return parameter
        for kind, places in stack.buffer_places.items():
            if path in places:
                return places[path].of_all(stack.rows.get_buffer(kind))
        if getattr(self._of(0, module), name, None) is not None:
            raise CannotPack("two layers with the same weights")
        return None

    def _in_turns(self, name: str, draws: bool) -> nn.Module:
        modules = [self._of(number, name) for number in range(len(self.stack))]
        self._turns += modules
        return InTurns(tuple(modules), self._generators if draws else None, self._span)

    def _of(self, number: int, name: str) -> Any:
        return self.stack.modules[number].get_submodule(name)


def _leaves_examples(module: Any) -> bool:
    first = module.start_dim if isinstance(module, nn.Flatten) else module.dim
    return isinstance(first, int) and first >= 1
