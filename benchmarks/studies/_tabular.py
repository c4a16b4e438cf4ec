"""A job of plain numbers: perceptrons on the 569 rows of scikit-learn's breast cancer data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from sklearn.datasets import load_breast_cancer


def build(parameters: Mapping[str, Any]) -> torch.nn.Sequential:
    """Return a perceptron of `depth` hidden layers of `width` units."""
    layers: list[torch.nn.Module] = []
    before = 30
    for _ in range(parameters["depth"]):
        layers += [
            torch.nn.Linear(before, parameters["width"]),
            torch.nn.ReLU(),
            torch.nn.Dropout(parameters["dropout"]),
        ]
        before = parameters["width"]
    return torch.nn.Sequential(*layers, torch.nn.Linear(before, 2))


def data() -> Any:
    """Return the standardised inputs and the classes."""
    inputs, labels = load_breast_cancer(return_X_y=True)
    return (inputs - inputs.mean(axis=0)) / inputs.std(axis=0), labels
