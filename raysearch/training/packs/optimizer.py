"""The optimizers of a pack: one step for all neighbours of one recipe, in the kernels of a lone training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training import optimizer as alone
from raysearch.training.packs.stack import Stack
from raysearch.training.recipe import Recipe

State = dict[str, Tensor]
"""Of one network, by torch's names: rows `(n,)` laid out like its weights, and single numbers."""
_SINGLE = ("step", "mu_product")
_MOMENTS = {"Adam": ("exp_avg", "exp_avg_sq"), "AdamW": ("exp_avg", "exp_avg_sq"), "SGD": ("momentum_buffer",)}


class Optimizer:
    """The optimizer of those networks of a stack, `span`, that train by one recipe.

    `states` go on from where `state` of another one left off. The fused kernels are called without the class around
    them, which costs more than they do; they round as those of a lone training do because they are given the same
    stretches of numbers (Stack.segments). The other optimizers consist of elementwise kernels, which always do.
    """

    def __init__(self, stack: Stack, span: slice, recipe: Recipe, states: Sequence[State] = ()) -> None:
        self.span = span
        self._weights = nn.Parameter(stack.weights[span])
        self._stack_gradients = self._weights.grad = stack.gradients[span]
        self._torch = alone.optimizer(nn.ParameterList([self._weights]), recipe)
        self._options: dict[str, Any] = self._torch.param_groups[0]
        self._fused = recipe.optimizer if recipe.optimizer in alone.FUSED else None
        self._state: State = self._torch.state[self._weights]
        if self._fused:
            with_moments = self._fused != "SGD" or recipe.momentum
            self._state |= {name: torch.zeros_like(self._weights) for name in _MOMENTS[self._fused] if with_moments}
            self._state |= {} if self._fused == "SGD" else {"step": torch.zeros((), device=stack.weights.device)}
        for name in states[0] if states else ():
            values = [state[name] for state in states]
            self._state[name] = values[0].clone() if name in _SINGLE else torch.stack(values)
        self._kernel = self._fused_kernel(stack.segments()) if self._fused else None

    @property
    def ends(self) -> tuple[int, int]:
        """The first of its networks, and the first after them."""
        return self.span.start, self.span.stop

    def step(self, rate: float) -> None:
        """Take a step at this learning rate."""
        if self._kernel is None:
            self._options["lr"] = rate
            self._torch.step()
            return
        if "step" in self._state:
            self._state["step"] += 1
        self._kernel(lr=rate)

    def state(self, network: int) -> State:
        """Return the state of one network of the stack, its rows as views."""
        row = network - self.span.start
        return {name: value if name in _SINGLE else value[row] for name, value in self._state.items()}

    def _fused_kernel(self, segments: Sequence[tuple[int, int]]) -> Callable[..., None]:
        """Return the kernel of a step with all its arguments but the learning rate."""
        options = self._options
        common = {"weight_decay": options["weight_decay"], "maximize": False}
        moments = [self._listed(self._state[name], segments) for name in self._state if name not in _SINGLE]
        weights = self._listed(self._weights.data, segments)
        gradients = self._listed(self._stack_gradients, segments)
        if self._fused == "SGD":
            own = {name: options[name] for name in ("momentum", "dampening", "nesterov")}
            # from a buffer of zeros the momentum begins with the gradient, as torch lets it begin
            buffers = moments[0] if moments else []
            return partial(torch._fused_sgd_, weights, gradients, buffers, is_first_step=False, **own, **common)
        kernel = torch._fused_adamw_ if self._fused == "AdamW" else torch._fused_adam_
        own = {"beta1": options["betas"][0], "beta2": options["betas"][1], "eps": options["eps"], "amsgrad": False}
        return partial(kernel, weights, gradients, *moments, [], [self._state["step"]] * len(weights), **own, **common)

    @staticmethod
    def _listed(values: Tensor, segments: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return what a kernel works on: all rows in one where there are no `segments`, else stretch by stretch."""
        return [row[start:end] for row in values for start, end in segments] or [values]


def from_alone(optimizer: torch.optim.Optimizer, module: nn.Module, stack: Stack) -> State:
    """Return the state of a lone optimizer of `module`, whose weights are laid out as those of `stack` are."""
    found: State = {}
    for name, parameter in module.named_parameters():
        for kind, value in optimizer.state[parameter].items():
            if kind in _SINGLE:
                found[kind] = value
            elif value is not None:
                rows = found.setdefault(kind, torch.zeros_like(stack.weights[0]))
                stack.places[name].of(rows[None], 0).copy_(value)
    return found


def to_alone(state: State, optimizer: torch.optim.Optimizer, module: nn.Module, stack: Stack) -> None:
    """Let a lone optimizer of `module` have this state."""
    for name, parameter in module.named_parameters():
        place = stack.places[name]
        optimizer.state[parameter] = {
            kind: value.clone() if kind in _SINGLE else place.of(value[None], 0).clone()
            for kind, value in state.items()
        }


class Clip:
    """Shortens the gradients of each network to at most its norm in `norms`, 0 for none, as clip_grad_norm_ does."""

    def __init__(self, stack: Stack, norms: Sequence[float]) -> None:
        self._gradients, self._active = stack.gradients, any(norms)
        self._norms = torch.tensor(norms, dtype=stack.weights.dtype, device=stack.weights.device)
        rows = range(len(stack) if self._active else 0)
        self._parts = [place.of(stack.gradients, row) for row in rows for place in stack.places.values()]

    def __call__(self) -> None:
        """Shorten the gradients as they are now."""
        if not self._active:
            return
        norms = torch.stack(torch._foreach_norm(self._parts)).view(len(self._norms), -1)
        totals = torch.linalg.vector_norm(norms, dim=1)
        factors = ((totals + 1e-6).reciprocal() * self._norms).clamp(max=1.0)
        self._gradients.mul_(torch.where(self._norms > 0.0, factors, 1.0)[:, None])
