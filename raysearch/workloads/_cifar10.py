"""ResNet-18 and its variants for 32 x 32 colour images, in torch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from raysearch.training.packs.turns import Draws

MEAN, SPREAD = 0.473, 0.251  # of all pixels and colours of the CIFAR-10 training set, in [0, 1]


class ResNet(nn.Module):
    """Images `(n, 3, 32, 32)` as bytes to logits `(n, 10)`: four stages of basic blocks, each halving the side.

    `width` channels in the first stage (64 is ResNet-18), doubled at each stage; `blocks` per stage (2 is ResNet-18).
    Source: He et al., arXiv 1512.03385, with the 3 x 3 stem that is usual for small images.
    """

    def __init__(self, width: int, blocks: int, dropout: float, flip: bool) -> None:
        super().__init__()
        self.mirror = _Mirror() if flip else nn.Identity()
        layers: list[nn.Module] = [*_convolution(3, width, stride=1), nn.ReLU()]
        before = width
        for stage in range(4):
            for number in range(blocks):
                after = width << stage
                layers.append(_Block(before, after, stride=2 if stage and not number else 1))
                before = after
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, 10))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, 10)`."""
        values = (images.float() / 255.0 - MEAN) / SPREAD
        values = self.mirror(values)
        logits: Tensor = self.head(self.body(values.contiguous(memory_format=torch.channels_last)))
        return logits


class _Mirror(Draws):
    """Turns half of the images round, in training."""

    def forward(self, values: Tensor) -> Tensor:
        if not self.training:
            return values
        mirrored = torch.rand(len(values), device=values.device) < 0.5
        return torch.where(mirrored[:, None, None, None], values.flip(3), values)


class _Block(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(*_convolution(before, after, stride), nn.ReLU(), *_convolution(after, after, 1))
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(before, after, stride, side=1))

    def forward(self, values: Tensor) -> Tensor:
        return torch.relu(self.path(values) + self.shortcut(values))


def _convolution(before: int, after: int, stride: int, side: int = 3) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False), nn.BatchNorm2d(after)
