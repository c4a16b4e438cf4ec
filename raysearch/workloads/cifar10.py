"""ResNet-18 variants on a local copy of CIFAR-10 in its binary format."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from scipy.special import softmax

from raysearch.errors import WorkloadError
from raysearch.registry import Validated
from raysearch.training.recipe import Device, Recipe, check_names
from raysearch.training.score import check_score
from raysearch.workloads._images import Images
from raysearch.workloads._sources import Vary

_TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST_FILE = "test_batch.bin"
_RECORD = 1 + 3 * 32 * 32  # one label byte, then red, green and blue, row by row
_DEFAULTS: dict[str, Any] = {"width": 64, "blocks": 2, "dropout": 0.0, "flip": True}


@dataclass(frozen=True)
class Cifar10(Images, Validated):
    """ResNets that name the object in an image; the loss is 1 - accuracy, or cross entropy (nats), on validation.

    The space may name width, blocks, dropout, flip (defaults 64, 2, 0, true: ResNet-18) and the fields of `Recipe`.

    Args:
        folder: holds data_batch_1.bin ... data_batch_5.bin and test_batch.bin (the "binary version" of the data set).
        loss: what steers the race, `error` (1 - accuracy) or `cross_entropy`; training minimises cross entropy.
        n_train: examples in an instance's training sample; None is nine tenths of what validation leaves.
        n_validation: training examples set aside to steer the race.
        epochs: passes over the training sample.
        vary: what differs between seeds: `weights`, `sample` or `both`.
        patience: end an instance after so many epochs without a better validation loss, and return to its best epoch;
            None never does.
        score: the loss of an instance: its `last` epoch's, its `best` epoch's (whose weights are kept), or the mean of
            its last epochs, e.g. `mean_last_5`.
        split_seed: of the split into validation and pool.
        n_threads: of torch, per instance.
        device: `auto`, `cpu` or `cuda`.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (data and format).
    """

    folder: str
    loss: Literal["error", "cross_entropy"] = "error"
    n_train: Annotated[int, Ge(1)] | None = None
    n_validation: Annotated[int, Ge(1)] = 5000
    epochs: Annotated[int, Ge(1)] = 30
    vary: Vary = "both"
    patience: Annotated[int, Ge(1)] | None = None
    score: str = "last"
    split_seed: Annotated[int, Ge(0)] = 0
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"

    constraints: ClassVar[tuple[str, ...]] = ("n_parameters",)

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained."""
        check_names(parameters, _DEFAULTS, "cifar10")
        _Shape(**_own(parameters))
        Recipe.of(parameters)

    def n_parameters(self, parameters: Mapping[str, Any]) -> int:
        """Return the number of trainable parameters, from a network without memory."""
        import torch

        with torch.device("meta"):
            return sum(parameter.numel() for parameter in _network(parameters).parameters())

    def prepare(self) -> dict[str, NDArray[Any]]:
        """Return images `(n, 3, 32, 32)` bytes and labels `(n,)` of the sets pool, validation and test.

        Raises WorkloadError if a file is missing or is not in the binary format.
        """
        folder = Path(self.folder).expanduser()
        missing = [name for name in (*_TRAIN_FILES, _TEST_FILE) if not (folder / name).is_file()]
        if missing:
            raise WorkloadError(
                f"cifar10: {folder} lacks {', '.join(missing)}. Unpack the binary version of CIFAR-10 there "
                "(cifar-10-binary.tar.gz), or set workload.folder to where it is."
            )
        parts = [_read(folder / name) for name in _TRAIN_FILES]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        if self.n_validation + (self.n_train or 1) > len(labels):
            raise WorkloadError(
                f"cifar10: {self.n_validation} validation and {self.n_train or 1} training examples are more than the "
                f"{len(labels)} in {folder}"
            )
        order = np.random.default_rng(self.split_seed).permutation(len(labels))
        held, pool = order[: self.n_validation], order[self.n_validation :]
        test_images, test_labels = _read(folder / _TEST_FILE)
        return {
            **{"pool_images": images[pool], "pool_labels": labels[pool]},
            **{"validation_images": images[held], "validation_labels": labels[held]},
            **{"test_images": test_images, "test_labels": test_labels},
        }

    def network(self, parameters: Mapping[str, Any]) -> Any:
        """Return a new network."""
        return _network(parameters)

    def architecture(self, parameters: Mapping[str, Any]) -> object:
        """Return what tells a configuration's network from another one, dropout aside."""
        return {**_own(parameters), "dropout": None}

    def n_sample(self, n_pool: int) -> int:
        """Return the size of an instance's training sample: nine tenths of the pool unless `n_train` says."""
        return self.n_train or max(1, n_pool * 9 // 10)

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the probabilities `(n, 10)` of the classes of images `(n, 3, 32, 32)`, values 0-255."""
        from raysearch.training import loop

        scores = loop.answer(_network(parameters), weights, np.asarray(inputs, dtype=np.uint8))
        return np.asarray(softmax(scores, axis=-1))


@dataclass(frozen=True)
class _Shape(Validated):
    width: Annotated[int, Ge(1)]
    blocks: Annotated[int, Ge(1)]
    dropout: Annotated[float, Interval(ge=0, lt=1)]
    flip: bool


def _own(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameters.get(name, default) for name, default in _DEFAULTS.items()}


def _network(parameters: Mapping[str, Any]) -> Any:
    from raysearch.workloads._cifar10 import ResNet

    return ResNet(**_own(parameters))


def _read(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of one file; nothing in it is executed."""
    content = np.fromfile(path, dtype=np.uint8)
    if not content.size or content.size % _RECORD or (content[::_RECORD] > 9).any():
        raise WorkloadError(f"cifar10: {path} is not in the binary format: records of {_RECORD} bytes, labels 0-9")
    records = content.reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)
