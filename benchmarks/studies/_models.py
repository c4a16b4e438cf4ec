"""The paper's models on the simulated calorimeter, and the losses it published for them."""

from __future__ import annotations

from typing import Any

import pandas as pd
from _frame import Bench

_ENERGY = {"conv1": 32, "conv2": 64, "pool2": [2, 1], "fc": [9], "activation": "ReLU"}
_POSITION = {"conv1": 32, "conv2": 64, "pool2": [4, 4], "fc": [64, 9], "activation": "PReLU"}
_NAS = {"conv1": 32, "conv2": 16, "pool2": [4, 4], "feature": True, "activation": "ReLU", "optimizer": "AdamW"}
MODELS: dict[str, dict[str, Any]] = {
    "Model 1": {**_ENERGY, "feature": False, "optimizer": "NAdam", "lr": 1e-4, "batch_size": 64, "weight_decay": 0.01},
    "Model 2": {**_ENERGY, "feature": True, "optimizer": "AdamW", "lr": 1e-3, "batch_size": 32, "weight_decay": 0.1},
    "Model 3": {**_POSITION, "feature": False, "optimizer": "AdamW", "lr": 1e-4, "batch_size": 32, "weight_decay": 0.1},
    "Model 4": {**_POSITION, "feature": True, "optimizer": "AdamW", "lr": 1e-4, "batch_size": 32, "weight_decay": 0.1},
    "NAS 1": {**_NAS, "fc": [32, 9], "lr": 1e-3, "batch_size": 32, "weight_decay": 0.001},
    "NAS 2": {**_NAS, "fc": [128, 64, 9], "lr": 1e-2, "batch_size": 32, "weight_decay": 0.01},
}
TARGETS = {name: "position" if name in ("Model 3", "Model 4") else "energy" for name in MODELS}
PUBLISHED = {
    ("Model 2", 8000): ".0253 (.0238-.0284)",
    ("Model 2", 16_000): ".0233 (.0229-.0249)",
    ("Model 2", 24_000): ".0229 (.0228-.0234)",
    ("Model 2", 32_000): ".0229 (.0227-.0233)",
    ("NAS 1", 8000): ".0243 (.0231-.0272)",
    ("NAS 1", 16_000): ".0237 (.0231-.0256)",
    ("NAS 1", 24_000): ".0238 (.0230-.0257)",
    ("NAS 1", 32_000): ".0233 (.0228-.0247)",
    ("Model 4", 8000): ".372 cm",
    ("Model 4", 16_000): ".291 cm",
    ("Model 4", 24_000): ".272 cm",
    ("Model 4", 32_000): ".268 cm",
}
"""Medians (and quartiles) read off the paper's box plots, by model and training examples."""


def showers(target: str, n_train: int, epochs: int, n_judging: int, **settings: Any) -> dict[str, Any]:
    """Return the section of a calorimeter workload; all sizes draw from one pool."""
    own = {"name": "calorimeter", "target": target, "n_train": n_train, "epochs": epochs, "n_pool": 4 * n_train}
    # steering costs as much as judging, and nothing is steered here
    return {**own, "n_validation": max(n_judging // 4, 100), "n_test": n_judging, **settings}


def trained(bench: Bench, model: str, n_train: int, epochs: int, n_instances: int, n_judging: int) -> pd.DataFrame:
    """Return instances of one of the models; studies share them."""
    workload = showers(TARGETS[model], n_train, epochs, n_judging)
    cell = f"{model}-{n_train}-{epochs}-{n_judging}".replace(" ", "_").lower()
    return bench.instances(cell, workload, fixed(MODELS[model]), n_instances, study="models")


def fixed(parameters: dict[str, Any]) -> dict[str, list[Any]]:
    """Return the space that has these parameters only."""
    return {name: [value] for name, value in parameters.items()}
