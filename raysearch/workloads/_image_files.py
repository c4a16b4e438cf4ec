"""Images and labels from files: IDX (MNIST, Fashion-MNIST), CIFAR-10's binaries, arrays; none is executed."""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysearch.errors import WorkloadError

Labelled = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Images `(n, channels, height, width)` and labels `(n,)`."""
DEBIAN = "/usr/share/datasets/fashion-mnist"
CIFAR10_FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
_IDX = {"train": "train", "test": "t10k"}
_RECORD = 1 + 3 * 32 * 32  # one label byte, then red, green and blue, row by row
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")  # as Keras calls them
_OTHERS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True)
class ImageFiles:
    """The training and the test set of a data set."""

    train: Labelled
    test: Labelled


def read(place: Path, workload: str) -> ImageFiles:
    """Return the data set in a folder (or an .npz file), in whichever of the formats it is there.

    Raises WorkloadError with what is expected where there is none.
    """
    if place.suffix == ".npz" and place.is_file():
        return _arrays(place, workload)
    if _idx_file(place, "train", "images") is not None:
        return _idx(place, workload)
    if any((place / name).is_file() for name in CIFAR10_FILES):
        return cifar10(place, workload)
    archives = sorted(place.glob("*.npz"))
    if len(archives) == 1 or any((place / f"{names[0]}.npy").is_file() for names in (_ARRAYS, _OTHERS)):
        return _arrays(archives[0] if archives else place, workload)
    remedy = "set workload.folder to a folder with " + (
        "train-images-idx3-ubyte and its three companions (.gz or plain), CIFAR-10's data_batch_1.bin ..., or one .npz "
        f"(or .npy files) of {', '.join(_ARRAYS)}"
    )
    if str(place) == DEBIAN:
        remedy = f"on Debian and Ubuntu `apt install dataset-fashion-mnist` puts Fashion-MNIST there; or {remedy}"
    several = f" (its {len(archives)} .npz files leave open which)" if archives else ""
    raise WorkloadError(f"{workload}: no images in {place}{several}: {remedy}")


# ---- IDX


def _idx_file(folder: Path, part: str, what: str) -> Path | None:
    """Return the file of a part, as the data sets' authors name it or with a dot, gzipped or not."""
    kind = {"images": "idx3-ubyte", "labels": "idx1-ubyte"}[what]
    names = [f"{_IDX[part]}-{what}{mark}{kind}{suffix}" for mark in "-." for suffix in ("", ".gz")]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _idx(folder: Path, workload: str) -> ImageFiles:
    def part(name: str) -> Labelled:
        files = {what: _idx_file(folder, name, what) for what in ("images", "labels")}
        for what, file in files.items():
            if file is None:
                raise WorkloadError(f"{workload}: {folder} lacks {_IDX[name]}-{what}-... beside its other IDX files")
        images, labels = (_idx_array(file, workload) for file in files.values() if file is not None)
        return _checked(images, labels, folder, workload)

    return ImageFiles(part("train"), part("test"))


def _idx_array(file: Path, workload: str) -> NDArray[np.uint8]:
    """Return the array of one file: two zero bytes, 8 for bytes, the number of dimensions, their sizes, the bytes."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        if content[:3] == b"\x00\x00\x08" and len(content) >= 4 + 4 * content[3]:
            shape = struct.unpack_from(f">{content[3]}I", content, 4)
            if len(content) == 4 + 4 * len(shape) + math.prod(shape):
                return np.frombuffer(content, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
    except (OSError, EOFError, zlib.error) as error:
        raise WorkloadError(f"{workload}: {file} cannot be read: {error}. Is it whole?") from error
    raise WorkloadError(f"{workload}: {file} is no whole IDX file of bytes")


# ---- CIFAR-10


def cifar10(folder: Path, workload: str) -> ImageFiles:
    """Return CIFAR-10 from its binary version; raises WorkloadError for files that are missing or something else."""
    missing = [name for name in CIFAR10_FILES if not (folder / name).is_file()]
    if missing:
        raise WorkloadError(
            f"{workload}: {folder} lacks {', '.join(missing)}. Unpack the binary version of CIFAR-10 there "
            "(cifar-10-binary.tar.gz), or set workload.folder to where it is."
        )
    *parts, test = (_records(folder / name, workload) for name in CIFAR10_FILES)
    images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
    return ImageFiles((images, labels), test)


def _records(path: Path, workload: str) -> Labelled:
    content = np.fromfile(path, dtype=np.uint8)
    if not content.size or content.size % _RECORD or (content[::_RECORD] > 9).any():
        raise WorkloadError(f"{workload}: {path} is not in the binary format: records of {_RECORD} bytes, labels 0-9")
    records = content.reshape(-1, _RECORD)
    return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)


# ---- arrays


def _arrays(place: Path, workload: str) -> ImageFiles:
    """Return the arrays of an .npz file, or of the .npy files of a folder."""
    found = _load(place, workload)
    names = next((names for names in (_ARRAYS, _OTHERS) if set(names) <= found.keys()), None)
    if names is None:
        known = ", ".join(sorted(found)) or "none"
        raise WorkloadError(
            f"{workload}: {place} must hold the arrays {', '.join(_ARRAYS)} (or {', '.join(_OTHERS)}), it has {known}"
        )
    train, test = ((found[names[i]], found[names[i + 1]]) for i in (0, 2))
    return ImageFiles(_checked(*train, place, workload), _checked(*test, place, workload))


def _load(place: Path, workload: str) -> dict[str, NDArray[Any]]:
    try:
        if place.is_file():
            # opened here, as np.load leaves a broken archive open
            with place.open("rb") as file, np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        return {file.stem: np.load(file, allow_pickle=False) for file in sorted(place.glob("*.npy"))}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise WorkloadError(f"{workload}: {place} cannot be read as NumPy arrays: {error}") from error


def _checked(images: NDArray[Any], labels: NDArray[Any], place: Path, workload: str) -> Labelled:
    """Return images with channels in front, and flat labels; raises WorkloadError where they are none."""
    labels = labels.reshape(-1) if labels.size == len(labels) else labels
    wrong = ""
    if images.dtype != np.uint8:
        wrong = f"images must be bytes, 0 to 255, and are {images.dtype}: store (images * 255).round().astype('uint8')"
    elif images.ndim not in (3, 4):
        wrong = f"images must be (n, height, width) with or without channels, and are {images.shape}"
    elif labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        wrong = f"labels must be {len(images)} whole numbers, one an image, and are {labels.shape} of {labels.dtype}"
    if wrong:
        raise WorkloadError(f"{workload}: {place}: {wrong}")
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[1] > images.shape[3]:  # the channels are fewer than pixels, wherever they stand
        images = np.ascontiguousarray(np.moveaxis(images, 3, 1))
    return images, labels.astype(np.int64)
