"""Layers of all members at once as grouped kernels, for GPUs, where a launch costs more than most of these layers do.

On a CPU grouped convolutions are slower than single ones, and these round otherwise: there members take turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from raysearch.training.packs.stack import Span

Stacked = Callable[[str], Any]
"""Gives the parameters or buffers of one name of all networks, `(n_networks, ...)`, None where there are none."""
_CONVOLUTIONS: dict[type, Callable[..., Tensor]] = {
    nn.Conv1d: functional.conv1d,
    nn.Conv2d: functional.conv2d,
    nn.Conv3d: functional.conv3d,
}
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def grouped(module: nn.Module, stacked: Stacked, span: Span) -> nn.Module | None:
    """Return the module that does for all networks what `module` does for one, None where there is none."""
    kind: Any = type(module)
    if kind in _CONVOLUTIONS and getattr(module, "padding_mode", None) == "zeros":
        return _Convolution(module, stacked, span)
    if kind in _NORMS and getattr(module, "momentum", None) is not None:
        return _Norm(module, stacked, span)
    return _Slope(stacked, span) if kind is nn.PReLU else None


class _Grouped(nn.Module):
    """Keeps parameters as its own, and how the networks' parts of a batch become channels and parts again."""

    def __init__(self, stacked: Stacked, span: Span, *names: str) -> None:
        super().__init__()
        for name in names:
            self.register_parameter(name, stacked(name))
        self._span = span

    def _own(self, name: str) -> Tensor | None:
        values = getattr(self, name)
        return None if values is None else self._span.of(values).flatten(0, 1)

    def _as_channels(self, values: Tensor) -> Tensor:
        """Return `(n_networks * n, c, ...)` as `(n, n_networks * c, ...)`."""
        parts = values.view(len(self._span), -1, *values.shape[1:])
        return parts.transpose(0, 1).flatten(1, 2)

    def _as_parts(self, values: Tensor) -> Tensor:
        """Return `(n, n_networks * c, ...)` as `(n_networks * n, c, ...)`."""
        channels = values.view(len(values), len(self._span), -1, *values.shape[2:])
        return channels.transpose(0, 1).flatten(0, 1)


class _Convolution(_Grouped):
    def __init__(self, module: Any, stacked: Stacked, span: Span) -> None:
        super().__init__(stacked, span, "weight", "bias")
        self._convolve, self._groups = _CONVOLUTIONS[type(module)], module.groups
        self._how = {"stride": module.stride, "padding": module.padding, "dilation": module.dilation}

    def forward(self, values: Tensor) -> Tensor:
        groups = len(self._span) * self._groups
        found = self._convolve(
            self._as_channels(values), self._own("weight"), self._own("bias"), groups=groups, **self._how
        )
        return self._as_parts(found)


class _Norm(_Grouped):
    def __init__(self, module: Any, stacked: Stacked, span: Span) -> None:
        super().__init__(stacked, span, "weight", "bias")
        # in a tuple: the stack has them, they are no buffers of this one
        self._running = tuple(stacked(name) for name in ("running_mean", "running_var", "num_batches_tracked"))
        self._momentum, self._eps = module.momentum, module.eps

    def forward(self, values: Tensor) -> Tensor:
        running = [None if own is None else self._span.of(own) for own in self._running]
        mean, var = (None if own is None else own.flatten() for own in running[:2])
        found = functional.batch_norm(
            self._as_channels(values),
            mean,
            var,
            self._own("weight"),
            self._own("bias"),
            self.training or mean is None,
            self._momentum,
            self._eps,
        )
        if self.training and mean is not None and var is not None:
            for own, now in zip(running, (mean, var), strict=False):
                if own is not None:
                    own.copy_(now.view_as(own))
            if running[2] is not None:
                running[2] += 1
        return self._as_parts(found)


class _Slope(_Grouped):
    def __init__(self, stacked: Stacked, span: Span) -> None:
        super().__init__(stacked, span, "weight")

    def forward(self, values: Tensor) -> Tensor:
        slopes: Tensor = self._span.of(self.get_parameter("weight"))
        parts = values.view(len(slopes), -1, *values.shape[1:])
        slopes = slopes.view(len(slopes), 1, -1, *(1 for _ in values.shape[2:]))
        return torch.where(parts > 0.0, parts, slopes * parts).flatten(0, 1)
