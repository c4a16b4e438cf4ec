"""Networks that classify images, in torch: perceptrons, convolutions as in LeNet, ResNets."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raysearch.training.packs.turns import Draws


@dataclass(frozen=True)
class Format:
    """What images `(n, channels, height, width)` of bytes are like; `mean` and `spread` of all values, in [0, 1]."""

    shape: tuple[int, int, int]
    n_classes: int
    mean: float
    spread: float


class Classifier(nn.Module):
    """Images `(n, channels, height, width)`, values 0-255, to logits `(n, n_classes)`."""

    def __init__(self, body: nn.Module, head: nn.Module, images: Format, flip: bool, channels_last: bool) -> None:
        super().__init__()
        self.mirror = _Mirror() if flip else nn.Identity()
        self.body, self.head = body, head
        self._mean, self._spread = images.mean, images.spread
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        self.to(memory_format=self._layout)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """Return logits `(n, n_classes)`."""
        values = (images.float() / 255.0 - self._mean) / self._spread
        values = self.mirror(values)
        logits: Tensor = self.head(self.body(values.contiguous(memory_format=self._layout)))
        return logits


def perceptron(images: Format, hidden: Sequence[int], activation: str, dropout: float, flip: bool) -> Classifier:
    """Return fully connected layers; without hidden ones it is softmax regression."""
    channels, height, width = images.shape
    head = _linear((channels * height * width, *hidden, images.n_classes), activation, dropout)
    return Classifier(nn.Flatten(), _initialised(head), images, flip, channels_last=False)


def lenet(
    images: Format,
    conv: Sequence[int],
    kernel: int,
    hidden: Sequence[int],
    activation: str,
    dropout: float,
    flip: bool,
) -> Classifier:
    """Return convolutions (padded, then pooled by 2, then the activation) and fully connected layers.

    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, whose order of layers it has.
    """
    channels, height, width = images.shape
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise((channels, *conv)):
        layers += [nn.Conv2d(before, after, kernel, padding=kernel // 2), nn.MaxPool2d(2), getattr(nn, activation)()]
    n_inputs = (conv[-1] if conv else channels) * (height >> len(conv)) * (width >> len(conv))
    body, head = (
        nn.Sequential(*layers, nn.Flatten()),
        _linear((n_inputs, *hidden, images.n_classes), activation, dropout),
    )
    return Classifier(_initialised(body), _initialised(head), images, flip, channels_last=True)


def resnet(images: Format, width: int, blocks: int, stages: int, dropout: float, flip: bool) -> Classifier:
    """Return stages of basic blocks, each after the first halving the side and doubling the channels.

    `width` channels in the first stage, `blocks` a stage: 64, 2 and 4 stages are ResNet-18.
    Source: He et al., arXiv 1512.03385, with the 3 x 3 stem that is usual for small images.
    """
    layers: list[nn.Module] = [*_convolution(images.shape[0], width, stride=1), nn.ReLU()]
    before = width
    for stage in range(stages):
        for number in range(blocks):
            after = width << stage
            layers.append(_Block(before, after, stride=2 if stage and not number else 1))
            before = after
    body = nn.Sequential(*layers)
    last = nn.Linear(before, images.n_classes)
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), last)
    for module in body.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Classifier(body, head, images, flip, channels_last=True)


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


def _linear(widths: Sequence[int], activation: str, dropout: float) -> nn.Sequential:
    """Return linear layers of these widths, with the activation and dropout between them."""
    layers: list[nn.Module] = []
    for number, (before, after) in enumerate(itertools.pairwise(widths)):
        if number:
            layers += [getattr(nn, activation)(), nn.Dropout(dropout)]
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)


def _initialised(layers: nn.Sequential) -> nn.Sequential:
    for module in layers:
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    return layers
