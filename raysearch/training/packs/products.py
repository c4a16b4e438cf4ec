"""Linear layers of all members at once, as batched products wherever these give the very bits of single ones."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raysearch.training.packs.stack import LANES, Span, aligned


class Linear(nn.Module):
    """The linear layers of several networks, `(n_networks * n, ..., n_in) -> (n_networks * n, ..., n_out)`."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, span: Span) -> None:
        super().__init__()
        self.register_parameter("weight", weight)
        self.register_parameter("bias", bias)
        self._span = span

    def forward(self, inputs: Tensor) -> Tensor:
        """Return each network's products with its own part of the inputs."""
        weight, bias = self._span.of(self.weight), None if self.bias is None else self._span.of(self.bias)
        found: Tensor = _Products.apply(inputs, weight, bias)  # type: ignore[no-untyped-call]
        return found


class _Products(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        n_networks, n_out, n_in = weight.shape
        parts = inputs.reshape(n_networks, -1, n_in)
        exact = _exact(n_networks, parts.shape[1], n_in, n_out, bias is not None, inputs.device.type)
        ctx.save_for_backward(parts, weight)
        ctx.has_bias, ctx.shape, ctx.exact = bias is not None, inputs.shape, exact
        return _forward(parts, weight, bias, exact.answers).view(*inputs.shape[:-1], n_out)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        parts, weight = ctx.saved_tensors
        gradient = gradients[0].contiguous().view(len(weight), -1, weight.shape[1])
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_inputs = _product(gradient, weight, ctx.exact.to_inputs).view(ctx.shape)
        # in the order of the factors in which torch multiplies for a single layer
        to_weights = _product(gradient.transpose(1, 2), parts, ctx.exact.to_weights)
        return to_inputs, to_weights, gradient.sum(1) if ctx.has_bias else None


def _forward(parts: Tensor, weight: Tensor, bias: Tensor | None, at_once: bool) -> Tensor:
    turned = weight.transpose(1, 2)
    if bias is None:
        return _product(parts, turned, at_once)
    if at_once:
        return torch.baddbmm(bias[:, None], parts, turned)
    return torch.stack([torch.addmm(*map(aligned, factors)) for factors in zip(bias, parts, turned, strict=True)])


def _product(one: Tensor, other: Tensor, at_once: bool) -> Tensor:
    if at_once:
        return torch.bmm(one, other)
    return torch.stack([torch.mm(*map(aligned, factors)) for factors in zip(one, other, strict=True)])


@dataclass(frozen=True)
class _Exact:
    """Whether the three batched products of a layer give the bits of single ones."""

    answers: bool = True
    to_inputs: bool = True
    to_weights: bool = True


@functools.lru_cache(maxsize=4096)
def _exact(n_networks: int, n: int, n_in: int, n_out: int, has_bias: bool, device: str) -> _Exact:
    """Return which batched products of layers of this size give the bits of single ones.

    Tried out on random numbers: which kernels a library of linear algebra takes, and how they sum, depends on sizes and
    alignment and not on the values. Small products, where it differs, are few and cheap. On a GPU launches cost more
    than bits.
    """
    if device != "cpu":
        return _Exact()
    generator = torch.Generator().manual_seed(0)

    def rows(*shape: int) -> Tensor:
        n_numbers = math.prod(shape)
        side_by_side = torch.randn(n_networks, (n_numbers // LANES + 2) * LANES, generator=generator)
        return side_by_side[:, :n_numbers].unflatten(1, shape)  # type: ignore[no-untyped-call,no-any-return]

    weight, bias = rows(n_out, n_in), rows(n_out) if has_bias else None
    parts, gradient = (torch.randn(n_networks, n, size, generator=generator) for size in (n_in, n_out))

    def agree(product: Callable[[bool], Tensor]) -> bool:
        return torch.equal(product(True), product(False))

    return _Exact(
        agree(lambda at_once: _forward(parts, weight, bias, at_once)),
        agree(lambda at_once: _product(gradient, weight, at_once)),
        agree(lambda at_once: _product(gradient.transpose(1, 2), parts, at_once)),
    )
