"""Fashion-MNIST at half its side, and small networks for it: what `data/fashion_320.yaml` trains.

The images are those of Debian's package `dataset-fashion-mnist` (Expat licence), 28 x 28, averaged over 2 x 2 pixels.
"""

from __future__ import annotations

import gzip
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

FOLDER = Path(os.environ.get("FASHION_MNIST", "/usr/share/datasets/fashion-mnist"))
SIDE, N_CLASSES = 14, 10
N_POOL, N_VALIDATION, N_TEST = 12_000, 600, 600


def data() -> dict[str, NDArray[Any]]:
    """Return inputs `(n, 14, 14)` in [0, 1] and labels `(n,)` of pool, validation and test.

    Pool and validation are the first of the 60,000 examples for training, test of the 10,000 for testing.
    """
    if not FOLDER.is_dir():
        raise FileNotFoundError(f"no {FOLDER}: install Debian's dataset-fashion-mnist, or name a folder, FASHION_MNIST")
    images, labels = _set("train", N_POOL + N_VALIDATION)
    test_images, test_labels = _set("t10k", N_TEST)
    return {
        "pool_inputs": images[N_VALIDATION:],
        "pool_targets": labels[N_VALIDATION:],
        "validation_inputs": images[:N_VALIDATION],
        "validation_targets": labels[:N_VALIDATION],
        "test_inputs": test_images,
        "test_targets": test_labels,
    }


def build(parameters: Mapping[str, Any]) -> nn.Sequential:
    """Return convolutions of 3 x 3 (padded, each followed by a pooling by 2), then fully connected layers."""
    activation = getattr(nn, parameters["activation"])
    layers: list[nn.Module] = [nn.Unflatten(1, (1, SIDE))]
    channels = (1, *parameters["conv"])
    for before, after in itertools.pairwise(channels):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.MaxPool2d(2), activation()]
    layers.append(nn.Flatten())
    sizes = (channels[-1] * (SIDE >> len(parameters["conv"])) ** 2, *parameters["hidden"], N_CLASSES)
    for number, (before, after) in enumerate(itertools.pairwise(sizes)):
        if number:
            layers += [activation(), nn.Dropout(parameters["dropout"])]
        layers.append(nn.Linear(before, after))
    return nn.Sequential(*layers)


def _set(name: str, n: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the first `n` examples of an IDX file."""
    with gzip.open(FOLDER / f"{name}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(16 + n * 784), np.uint8, offset=16).reshape(n, SIDE, 2, SIDE, 2)
    with gzip.open(FOLDER / f"{name}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(8 + n), np.uint8, offset=8)
    return (pixels.mean(axis=(2, 4)) / 255).astype(np.float32), labels.astype(np.int64)
