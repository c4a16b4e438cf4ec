"""ResNet-18 variants on a local copy of CIFAR-10 in its binary format."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Interval

from raysearch.workloads._image_files import ImageFiles, cifar10
from raysearch.workloads.images import Images, Size


@dataclass(frozen=True)
class Cifar10(Images):
    """ResNets that name the object in an image; the loss is 1 - accuracy, or cross entropy (nats), on validation.

    It is `images` with what CIFAR-10 is like: the space may name width, blocks, dropout, flip (defaults 64, 2, 0, true:
    ResNet-18), another `network` with what that has, and the fields of `Recipe`.

    Args:
        folder: holds data_batch_1.bin ... data_batch_5.bin and test_batch.bin (the "binary version" of the data set).
        shape: of its images.
        n_classes: of its objects.
        mean: of all pixels and colours of its training set, in [0, 1].
        spread: standard deviation of those.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009 (data and format).
    """

    folder: str = field()
    shape: tuple[Size, Size, Size] = (3, 32, 32)
    n_classes: Annotated[int, Ge(2)] = 10
    mean: Annotated[float, Interval(ge=0, le=1)] = 0.473
    spread: Annotated[float, Gt(0)] = 0.251

    _called: ClassVar[str] = "cifar10"
    _default: ClassVar[tuple[str, bool]] = ("resnet", True)

    def _files(self, folder: Path) -> ImageFiles:
        return cifar10(folder, self._called)
