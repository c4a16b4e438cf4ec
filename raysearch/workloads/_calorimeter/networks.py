"""The networks of the calorimeter job, in torch."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from raysearch.workloads._calorimeter.architecture import N_FEATURES, Architecture
from raysearch.workloads._calorimeter.showers import CELL_CM, N_CELLS

_UNIT = {"energy": 10.0, "position": 1.0}
_RISING = ("ReLU", "LeakyReLU", "Sigmoid", "Tanh")


class Network(nn.Module):
    """Cells `(n, 15, 15)` in GeV to the target `(n,)`: energy in GeV, or x in cm from the matrix's centre.

    Scaling, fixed and the same for all: an energy network sees cells and sum in units of 10 GeV and answers in the same
    unit, so that a longer shower is only a larger input; a position network sees each cell as its share of the sum,
    times 10, beside the barycentre in cm. Kaiming initialisation.
    """

    along: Tensor

    def __init__(self, architecture: Architecture, target: str) -> None:
        super().__init__()
        self.target = target
        self.feature = architecture.feature
        self.convolutions = nn.Sequential(*_convolutions(architecture))
        widths = [architecture.n_flat, *architecture.fc]
        hidden: list[nn.Module] = []
        for before, after in itertools.pairwise(widths[:-1]):
            hidden += [nn.Linear(before, after), _activation(architecture.activation, after)]
        self.hidden = nn.Sequential(*hidden)
        self.dropout = nn.Dropout(architecture.dropout)
        n_features = N_FEATURES[target] if architecture.feature else 0
        self.last_hidden = nn.Linear(widths[-2] + n_features, widths[-1])
        self.last_activation = _activation(architecture.activation, widths[-1])
        self.output = nn.Linear(widths[-1], 1)
        along = (torch.arange(N_CELLS, dtype=torch.float32) - (N_CELLS - 1) / 2) * CELL_CM
        self.register_buffer("along", along, persistent=False)
        self._initialise(architecture.activation)
        # convolutions are twice as fast this way on a CPU, and the values are the same
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _initialise(self, activation: str) -> None:
        slope = 0.25 if activation == "PReLU" else 0.0  # a of torch's PReLU at the start
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=slope)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, cells: Tensor) -> Tensor:
        """Return the target `(n,)`."""
        total = cells.sum(dim=(1, 2)).clamp_min(1e-3)
        unit = _UNIT[self.target]
        scaled = cells / unit if self.target == "energy" else cells * (10.0 / total[:, None, None])
        values = self.convolutions(scaled[:, None]).flatten(1)
        values = self.dropout(self.hidden(values))
        if self.feature:
            values = torch.cat([values, self._feature(cells, total)], dim=1)
        values = self.last_activation(self.last_hidden(values))
        predicted: Tensor = self.output(values)[:, 0]
        return predicted * unit

    def _feature(self, cells: Tensor, total: Tensor) -> Tensor:
        if self.target == "energy":
            return total[:, None] / _UNIT["energy"]
        x = (cells.sum(dim=1) * self.along).sum(dim=1) / total
        y = (cells.sum(dim=2) * self.along).sum(dim=1) / total
        return torch.stack([x, y], dim=1)


def _convolutions(architecture: Architecture) -> list[nn.Module]:
    layers: list[nn.Module] = []
    before = 1
    for channels, pool in ((architecture.conv1, architecture.pool1), (architecture.conv2, architecture.pool2)):
        if channels:
            activation = _activation(architecture.activation, channels)
            pooling = nn.MaxPool2d(*pool) if pool[0] > 1 else nn.Identity()
            # a rising function commutes with the maximum: after the pooling it has fewer values to work on
            late = architecture.activation in _RISING
            layers.append(nn.Conv2d(before, channels, architecture.kernel, bias=False))
            layers += [pooling, activation] if late else [activation, pooling]
            before = channels
    return layers


def _activation(name: str, n_channels: int) -> nn.Module:
    module = nn.PReLU(n_channels) if name == "PReLU" else getattr(nn, name)()
    return module
