"""Linear layers of all members at once, as batched products wherever these give the very bits of single ones."""

from __future__ import annotations

import functools
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
        ctx.save_for_backward(parts, weight)
        ctx.has_bias, ctx.shape = bias is not None, inputs.shape
        return _forward(parts, weight, bias).view(*inputs.shape[:-1], n_out)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        parts, weight = ctx.saved_tensors
        gradient = gradients[0].reshape(len(weight), -1, weight.shape[1])
        to_inputs = None
        if ctx.needs_input_grad[0]:
            to_inputs = _product(gradient, weight).view(ctx.shape)
        # in the order of the factors in which torch multiplies for a single layer
        return to_inputs, _product(gradient.transpose(1, 2), parts), gradient.sum(1) if ctx.has_bias else None


def _forward(parts: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    turned = weight.transpose(1, 2)
    if bias is None:
        return _product(parts, turned)
    if _as_single(_geometry(parts), _geometry(turned), _geometry(bias)):
        return torch.baddbmm(bias[:, None], parts, turned)
    return torch.stack([torch.addmm(*map(aligned, factors)) for factors in zip(bias, parts, turned, strict=True)])


def _product(one: Tensor, other: Tensor) -> Tensor:
    if _as_single(_geometry(one), _geometry(other), None):
        return torch.bmm(one, other)
    return torch.stack([torch.mm(*map(aligned, factors)) for factors in zip(one, other, strict=True)])


Geometry = tuple[tuple[int, ...], tuple[int, ...], int, str]


def _geometry(values: Tensor) -> Geometry:
    """Return all that the choice and the rounding of a kernel can depend on: shape, strides and alignment."""
    return tuple(values.shape), values.stride(), int(values.storage_offset()) % LANES, values.device.type


@functools.lru_cache(maxsize=4096)
def _as_single(one: Geometry, other: Geometry, added: Geometry | None) -> bool:
    """Return whether a batched product of tensors of such geometry gives the bits of single products.

    Tried out on random numbers: which kernels a library of linear algebra takes, and how they sum, depends on the sizes
    and not on the values. Small products, where it differs, are few and cheap. On a GPU launches cost more than bits.
    """
    if one[3] != "cpu":
        return True
    generator = torch.Generator().manual_seed(0)
    first, second = _random(one, generator), _random(other, generator)
    if added is None:
        batched = torch.bmm(first, second)
        single = [torch.mm(*map(aligned, factors)) for factors in zip(first, second, strict=True)]
    else:
        third = _random(added, generator)
        batched = torch.baddbmm(third[:, None], first, second)
        single = [torch.addmm(*map(aligned, factors)) for factors in zip(third, first, second, strict=True)]
    return torch.equal(batched, torch.stack(single))


def _random(geometry: Geometry, generator: torch.Generator) -> Tensor:
    shape, stride, offset, _ = geometry
    extent = offset + 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    return torch.randn(extent, generator=generator).as_strided(shape, stride, offset)
