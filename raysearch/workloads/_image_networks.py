"""Networks that classify images, as a configuration names them; torch only where one is built."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval, MaxLen

from raysearch.errors import ExperimentError, unknown
from raysearch.registry import Validated
from raysearch.training.recipe import sizes

if TYPE_CHECKING:
    from raysearch.workloads._image_modules import Classifier, Format

Activation = Literal["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"]
Widths = tuple[Annotated[int, Ge(1)], ...]
Share = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True)
class Perceptron(Validated):
    """Fully connected layers.

    Args:
        hidden: units of the hidden layers; none makes softmax regression.
        activation: a name in torch.nn.
        dropout: share dropped before every layer but the first, in [0, 1).
        flip: turn half of the training images round, left to right.
    """

    hidden: Widths = (128,)
    activation: Activation = "ReLU"
    dropout: Share = 0.0
    flip: bool = False

    def build(self, images: Format) -> Classifier:
        """Return a new network for such images."""
        from raysearch.workloads._image_modules import perceptron

        return perceptron(images, **vars(self))


@dataclass(frozen=True)
class LeNet(Validated):
    """Convolutions, each followed by a pooling by 2 and the activation, then fully connected layers.

    Args:
        conv: channels of the convolutions, at most 5.
        kernel: their side.
        hidden: units of the hidden layers behind them.
        activation: a name in torch.nn.
        dropout: share dropped before every fully connected layer but the first, in [0, 1).
        flip: turn half of the training images round, left to right.
    """

    conv: Annotated[Widths, MaxLen(5)] = (6, 16)
    kernel: Literal[1, 3, 5, 7] = 5
    hidden: Widths = (120, 84)
    activation: Activation = "ReLU"
    dropout: Share = 0.0
    flip: bool = False

    def build(self, images: Format) -> Classifier:
        """Return a new network for such images."""
        from raysearch.workloads._image_modules import lenet

        return lenet(images, **vars(self))


@dataclass(frozen=True)
class ResNet(Validated):
    """Stages of residual blocks; the defaults are ResNet-18.

    Args:
        width: channels of the first stage, doubled at each other one.
        blocks: of a stage.
        stages: each after the first halves the side of the images.
        dropout: share dropped before the last layer, in [0, 1).
        flip: turn half of the training images round, left to right.
    """

    width: Annotated[int, Ge(1)] = 64
    blocks: Annotated[int, Ge(1)] = 2
    stages: Annotated[int, Interval(ge=1, le=6)] = 4
    dropout: Share = 0.0
    flip: bool = False

    def build(self, images: Format) -> Classifier:
        """Return a new network for such images."""
        from raysearch.workloads._image_modules import resnet

        return resnet(images, **vars(self))


Network = Perceptron | LeNet | ResNet
KINDS: Mapping[str, type[Perceptron | LeNet | ResNet]] = {
    "perceptron": Perceptron,
    "lenet": LeNet,
    "resnet": ResNet,
}
NAMES = ("network", *dict.fromkeys(field.name for kind in KINDS.values() for field in fields(kind)))
"""Parameters of a space that tell the network."""


def network_of(parameters: Mapping[str, Any], default: str, flip: bool, shape: Sequence[int]) -> Network:
    """Return the network in a configuration's parameters, for images of `shape` (channels, height, width).

    `default` is its kind, and `flip` whether images are turned round, where the parameters do not say. Raises
    ExperimentError for a value that it cannot have, and for a parameter of another kind of network.
    """
    kind = parameters.get("network", default)
    if not isinstance(kind, str) or kind not in KINDS:
        raise unknown("network", str(kind), KINDS)
    own = [field.name for field in fields(KINDS[kind])]
    if others := [name for name in parameters if name in NAMES[1:] and name not in own]:
        owner = next(name for name, cls in KINDS.items() if others[0] in {field.name for field in fields(cls)})
        raise ExperimentError(
            f"{others[0]} is no parameter of a {kind}, whose are {', '.join(own)}. Where a space has several networks, "
            f"write {others[0]}: {{choice: [...], when: {{network: [{owner}]}}}}"
        )
    values = {"flip": flip, **{name: parameters[name] for name in own if name in parameters}}
    for name in ("hidden", "conv"):
        if name in values:
            values[name] = sizes(name, values[name])
    made = KINDS[kind](**values)
    if isinstance(made, LeNet) and min(shape[1:]) >> len(made.conv) == 0:
        raise ExperimentError(
            f"conv has {len(made.conv)} layers, each halving the side, but images are {shape[1]} x {shape[2]}: "
            "take fewer"
        )
    return made
