"""What a calorimeter network looks like, read from a configuration; no torch, so that spaces can be counted cheaply."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, MinLen

from raysearch.errors import ExperimentError
from raysearch.registry import Validated
from raysearch.training.recipe import sizes
from raysearch.workloads._calorimeter.showers import N_CELLS

N_FEATURES = {"energy": 1, "position": 2}
"""Size of the hand-made feature: the sum of all cells, or the barycentre."""

_PER_CHANNEL = "PReLU"


LAYER_NAMES = ("n_fc", "fc1", "fc2", "fc3", "fc4")
"""Parameters that may stand for `fc`."""


@dataclass(frozen=True)
class Architecture(Validated):
    """One or two convolutions without bias, each with a pooling, then fully connected layers down to one output.

    Args:
        conv1: channels of the first convolution, at least 1.
        conv2: channels of the second; 0 leaves it out.
        kernel: side of both convolutions' windows, in cells.
        pool1: side of the first max-pooling, or [side, stride]; 1 leaves it out.
        pool2: the same after the second convolution.
        fc: units of the hidden fully connected layers, at least one layer; a space may give `n_fc`, their number, and
            `fc1`, `fc2` ... instead, each conditional on `n_fc`.
        feature: whether the hand-made feature joins the input of the last hidden layer.
        activation: a name in torch.nn; PReLU learns one slope per channel or unit.
        dropout: share dropped before the last hidden layer, in [0, 1).
    """

    conv1: Annotated[int, Ge(1)]
    fc: Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
    conv2: Annotated[int, Ge(0)] = 0
    kernel: Annotated[int, Ge(1)] = 3
    pool1: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (2, 2)
    pool2: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (1, 1)
    feature: bool = False
    activation: Literal["ReLU", "PReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"] = "ReLU"
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Architecture:
        """Return the architecture in a configuration's parameters, leaving out names that are not its own.

        Raises ExperimentError for a missing or impossible value.
        """
        values = {field.name: parameters[field.name] for field in fields(cls) if field.name in parameters}
        if "n_fc" in parameters:
            values["fc"] = _layers(parameters)
        for name in ("conv1", "fc"):
            if name not in values:
                raise ExperimentError(f"calorimeter: the parameter {name!r} is missing from the space")
        for name in ("pool1", "pool2"):
            if name in values:
                pool = sizes(name, values[name])
                values[name] = pool * 2 if len(pool) == 1 else pool
        values["fc"] = sizes("fc", values["fc"])
        return cls(**values)

    def __post_init__(self) -> None:
        """Refuse what no network can be."""
        super().__post_init__()
        if min(self.sides) < 1:
            raise ExperimentError(f"calorimeter: nothing is left of {N_CELLS} cells after {self}: smaller windows")

    @property
    def sides(self) -> tuple[int, ...]:
        """The side of the map after each convolution and pooling, e.g. `(13, 6, 4, 3)`."""
        found, side = [], N_CELLS
        for channels, (size, stride) in ((self.conv1, self.pool1), (self.conv2, self.pool2)):
            if channels:
                found.append(side := side - self.kernel + 1)
                # a window larger than its map leaves nothing, whatever the stride
                found.append(side := (side - size) // stride + 1 if size <= side else 0)
        return tuple(found)

    @property
    def n_flat(self) -> int:
        """Number of values that leave the convolutions."""
        return (self.conv2 or self.conv1) * self.sides[-1] ** 2

    def n_parameters(self, target: str) -> int:
        """Return the number of trainable parameters for a `target`."""
        window = self.kernel**2
        n = window * self.conv1 + window * self.conv1 * self.conv2
        widths = [self.n_flat, *self.fc]
        n += sum((before + 1) * after for before, after in itertools.pairwise(widths)) + self.fc[-1] + 1
        if self.feature:
            n += N_FEATURES[target] * self.fc[-1]
        if self.activation == _PER_CHANNEL:
            n += self.conv1 + self.conv2 + sum(self.fc)
        return n


def _layers(parameters: Mapping[str, Any]) -> list[Any]:
    """Return the hidden layers of a space that searches their number; raises ExperimentError where one is missing."""
    names = [f"fc{number}" for number in range(1, int(parameters["n_fc"]) + 1)]
    for name in names:
        if name not in parameters:
            raise ExperimentError(f"calorimeter: n_fc = {parameters['n_fc']} needs the parameter {name!r} in the space")
    return [parameters[name] for name in names]
