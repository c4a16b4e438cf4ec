"""Classification of images from files: Fashion-MNIST, MNIST, CIFAR-10, or arrays of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray
from scipy.special import softmax

from raysearch.errors import ExperimentError, WorkloadError
from raysearch.registry import Validated
from raysearch.training.recipe import Device, Recipe, check_names
from raysearch.training.score import check_score
from raysearch.workloads._image_files import DEBIAN, ImageFiles, Labelled, read
from raysearch.workloads._image_networks import NAMES, Network, network_of
from raysearch.workloads._images import ClassifiesImages
from raysearch.workloads._sources import Vary

Size = Annotated[int, Ge(1)]


@dataclass(frozen=True)
class Images(ClassifiesImages, Validated):
    """Networks that name what an image shows; the loss is 1 - accuracy, or cross entropy (nats), on validation.

    The space may name `network` (`perceptron`, `lenet`, `resnet`) and what that has: hidden, activation; conv, kernel,
    hidden, activation; width, blocks, stages; each dropout and flip; and the fields of `Recipe` (optimizer, lr ...).

    Args:
        folder: holds IDX files (MNIST, Fashion-MNIST; .gz or plain), CIFAR-10's binaries, or arrays (one .npz, or .npy
            files, of x_train, y_train, x_test, y_test); or is an .npz. The default is where Debian's package
            dataset-fashion-mnist puts Fashion-MNIST.
        loss: what steers the race, `error` (1 - accuracy) or `cross_entropy`; training minimises cross entropy.
        n_train: examples in an instance's training sample; None is nine tenths of what validation leaves.
        n_validation: training examples set aside to steer the race.
        n_test: test examples that judge; None is all of them.
        downsample: side in pixels of the squares that are averaged to one; 1 leaves the images as they are.
        shape: channels, height and width of the images in the files.
        n_classes: labels are 0 to this less one.
        mean: of all values of the training set, in [0, 1]; networks subtract it.
        spread: standard deviation of those values; networks divide by it.
        epochs: passes over the training sample.
        vary: what differs between seeds: `weights`, `sample` or `both`.
        patience: end an instance after so many epochs without a better validation loss, and return to its best epoch;
            None never does.
        score: the loss of an instance: its `last` epoch's, its `best` epoch's (whose weights are kept), or the mean of
            its last epochs, e.g. `mean_last_5`.
        split_seed: of the split into validation and pool, and of the choice of test examples.
        n_threads: of torch, per instance.
        device: `auto`, `cpu` or `cuda`.

    Source: Xiao et al., Fashion-MNIST, arXiv 1708.07747 (the data of the defaults, and their mean and spread).
    """

    folder: str = DEBIAN
    loss: Literal["error", "cross_entropy"] = "error"
    n_train: Size | None = None
    n_validation: Size = 5000
    epochs: Size = 30
    vary: Vary = "both"
    patience: Size | None = None
    score: str = "last"
    split_seed: Annotated[int, Ge(0)] = 0
    n_threads: Size = 1
    device: Device = "auto"
    n_test: Size | None = None
    downsample: Size = 1
    shape: tuple[Size, Size, Size] = (1, 28, 28)
    n_classes: Annotated[int, Ge(2)] = 10
    mean: Annotated[float, Interval(ge=0, le=1)] = 0.286
    spread: Annotated[float, Gt(0)] = 0.353

    constraints: ClassVar[tuple[str, ...]] = ("n_parameters",)
    _called: ClassVar[str] = "images"
    _default: ClassVar[tuple[str, bool]] = ("lenet", False)
    """Kind of the network, and whether images are turned round, where a configuration does not say."""

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have, and images that cannot be made smaller so."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)
        if any(side % self.downsample for side in self.shape[1:]):
            raise ExperimentError(f"downsample = {self.downsample} does not divide {self.shape[1]} x {self.shape[2]}")

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained."""
        check_names(parameters, NAMES, self._called)
        self._network(parameters)
        Recipe.of(parameters)

    def n_parameters(self, parameters: Mapping[str, Any]) -> int:
        """Return the number of trainable parameters, from a network without memory."""
        import torch

        with torch.device("meta"):
            return sum(parameter.numel() for parameter in self.network(parameters).parameters())

    def prepare(self) -> dict[str, NDArray[Any]]:
        """Return images `(n, channels, height, width)` bytes and labels `(n,)` of the sets pool, validation and test.

        Raises WorkloadError if files are missing, or hold other images than the settings say.
        """
        files = self._files(Path(self.folder).expanduser())
        (images, labels), (test_images, test_labels) = self._seen(files.train), self._seen(files.test)
        if self.n_validation + (self.n_train or 1) > len(labels):
            raise WorkloadError(
                f"{self._called}: {self.n_validation} validation and {self.n_train or 1} training examples are more "
                f"than the {len(labels)} in {self.folder}"
            )
        order = np.random.default_rng(self.split_seed).permutation(len(labels))
        held, pool = order[: self.n_validation], order[self.n_validation :]
        judging = self._test_rows(len(test_labels))
        return {
            **{"pool_images": images[pool], "pool_labels": labels[pool]},
            **{"validation_images": images[held], "validation_labels": labels[held]},
            **{"test_images": test_images[judging], "test_labels": test_labels[judging]},
        }

    def network(self, parameters: Mapping[str, Any]) -> Any:
        """Return a new network."""
        from raysearch.workloads._image_modules import Format

        return self._network(parameters).build(Format(self._size, self.n_classes, self.mean, self.spread))

    def architecture(self, parameters: Mapping[str, Any]) -> object:
        """Return what tells a configuration's network from another one, dropout aside."""
        return replace(self._network(parameters), dropout=0.0)

    def n_sample(self, n_pool: int) -> int:
        """Return the size of an instance's training sample: nine tenths of the pool unless `n_train` says."""
        return self.n_train or max(1, n_pool * 9 // 10)

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the probabilities `(n, n_classes)` of the classes of images, values 0-255.

        Images are `(n, channels, height, width)` as in the files, or as `prepare` makes them smaller.
        """
        from raysearch.training import loop

        images = np.asarray(inputs, dtype=np.uint8)
        seen = images if images.shape[1:] == self._size else self._smaller(images)
        return np.asarray(softmax(loop.answer(self.network(parameters), weights, seen), axis=-1))

    def _files(self, folder: Path) -> ImageFiles:
        return read(folder, self._called)

    @property
    def _size(self) -> tuple[int, int, int]:
        """Channels, height and width of what networks see."""
        channels, height, width = self.shape
        return channels, height // self.downsample, width // self.downsample

    def _network(self, parameters: Mapping[str, Any]) -> Network:
        return network_of(parameters, *self._default, self._size)

    def _seen(self, labelled: Labelled) -> Labelled:
        """Return what networks see; raises WorkloadError where images or labels are not as the settings say."""
        images, labels = labelled
        if images.shape[1:] != tuple(self.shape):
            raise WorkloadError(
                f"{self._called}: the images in {self.folder} are {_by(images.shape[1:])} and workload.shape says "
                f"{_by(self.shape)}: set shape: {list(images.shape[1:])}, and mean and spread to those of the data"
            )
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.n_classes:
            raise WorkloadError(
                f"{self._called}: labels in {self.folder} go from {labels.min()} to {labels.max()}, and "
                f"workload.n_classes = {self.n_classes} wants 0 to {self.n_classes - 1}"
            )
        return self._smaller(images), labels

    def _smaller(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        if self.downsample == 1:
            return images
        n, (channels, height, width), side = len(images), self._size, self.downsample
        squares = images.reshape(n, channels, height, side, width, side)
        return np.asarray(squares.mean(axis=(3, 5), dtype=np.float32).round(), dtype=np.uint8)

    def _test_rows(self, n: int) -> slice | NDArray[np.intp]:
        """Return the rows of the test set that judge."""
        if self.n_test is None:
            return slice(None)
        if self.n_test > n:
            raise WorkloadError(f"{self._called}: n_test = {self.n_test}, but {self.folder} has {n} test examples")
        return np.random.default_rng([self.split_seed, 1]).permutation(n)[: self.n_test]


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
