"""Small classifiers of 8 x 8 images, read from a configuration; torch only where a network is built."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Interval, MaxLen

from raysearch.errors import ExperimentError
from raysearch.registry import Validated
from raysearch.training.recipe import sizes

if TYPE_CHECKING:
    from torch import nn

_SIDE, _N_CLASSES = 8, 10


@dataclass(frozen=True)
class Classifier(Validated):
    """Convolutions of 3 x 3 (padded, each followed by a pooling by 2), then fully connected layers, with biases.

    Args:
        hidden: units of the hidden layers; may be empty.
        conv: channels of at most 3 convolutions; none makes a perceptron.
        activation: a name in torch.nn.
        dropout: share dropped before every linear layer but the first, in [0, 1).
    """

    hidden: tuple[Annotated[int, Ge(1)], ...]
    conv: Annotated[tuple[Annotated[int, Ge(1)], ...], MaxLen(3)] = ()  # images of 8 x 8 can be halved 3 times
    activation: Literal["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"] = "ReLU"
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Classifier:
        """Return the classifier in a configuration's parameters, leaving out names that are not its own."""
        values = {field.name: parameters[field.name] for field in fields(cls) if field.name in parameters}
        if "hidden" not in values:
            raise ExperimentError(
                "digits: the parameter 'hidden' is missing from the space, e.g. hidden: [[32], [64, 32]]"
            )
        for name in ("hidden", "conv"):
            values[name] = sizes(name, values.get(name, ()))
        return cls(**values)

    @property
    def _widths(self) -> tuple[int, ...]:
        side = _SIDE >> len(self.conv)
        return ((self.conv[-1] if self.conv else 1) * side**2, *self.hidden, _N_CLASSES)

    @property
    def n_parameters(self) -> int:
        """Number of trainable parameters."""
        convolutions = sum((9 * before + 1) * after for before, after in itertools.pairwise((1, *self.conv)))
        return convolutions + sum((before + 1) * after for before, after in itertools.pairwise(self._widths))

    def network(self) -> nn.Sequential:
        """Return the torch network `(n, 8, 8) -> (n, 10)` logits, Kaiming-initialised."""
        from torch import nn

        layers: list[nn.Module] = [nn.Unflatten(1, (1, _SIDE))]
        for before, after in itertools.pairwise((1, *self.conv)):
            layers += [nn.Conv2d(before, after, 3, padding=1), getattr(nn, self.activation)(), nn.MaxPool2d(2)]
        layers.append(nn.Flatten())
        for number, (before, after) in enumerate(itertools.pairwise(self._widths)):
            if number:
                layers += [getattr(nn, self.activation)(), nn.Dropout(self.dropout)]
            layers.append(nn.Linear(before, after))
        network = nn.Sequential(*layers)
        for module in network:
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        return network
