"""The 8 x 8 handwritten digits that ship with scikit-learn: real data, small networks, seconds per instance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.special import softmax

from raysearch.errors import ExperimentError
from raysearch.registry import Validated
from raysearch.training.recipe import Device, Recipe, check_names
from raysearch.training.score import check_score
from raysearch.workloads._digits import Classifier
from raysearch.workloads._images import ClassifiesImages
from raysearch.workloads._sources import Vary

_N_IMAGES = 1797


@dataclass(frozen=True)
class Digits(ClassifiesImages, Validated):
    """Networks that read a digit; the loss is cross entropy (nats) or error (1 - accuracy) on validation examples.

    The space may name the fields of `Classifier` (conv, hidden, activation, dropout) and of `Recipe` (optimizer ...).
    The split into pool, validation and test is fixed by `split_seed`.

    Args:
        loss: what steers the race, `cross_entropy` or `error`; training minimises cross entropy in both cases.
        n_train: examples in an instance's training sample, drawn from the pool without repetition.
        n_validation: examples that steer the race.
        n_test: examples that steer nothing; what is left of the 1797 is the pool.
        epochs: passes over the training sample.
        vary: what differs between seeds: `weights`, `sample` or `both`.
        patience: end an instance after so many epochs without a better validation loss, and return to its best epoch;
            None never does.
        score: the loss of an instance: its `last` epoch's, its `best` epoch's (whose weights are kept), or the mean of
            its last epochs, e.g. `mean_last_5`.
        split_seed: of the split.
        n_threads: of torch, per instance.
        device: `auto`, `cpu` or `cuda`.

    Source: the data are scikit-learn's `load_digits` (UCI Optical Recognition of Handwritten Digits, test part).
    """

    loss: Literal["cross_entropy", "error"] = "cross_entropy"
    n_train: Annotated[int, Ge(1)] = 800
    n_validation: Annotated[int, Ge(1)] = 300
    n_test: Annotated[int, Ge(1)] = 300
    epochs: Annotated[int, Ge(1)] = 20
    vary: Vary = "both"
    patience: Annotated[int, Ge(1)] | None = None
    score: str = "last"
    split_seed: Annotated[int, Ge(0)] = 0
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"

    constraints: ClassVar[tuple[str, ...]] = ("n_parameters",)

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have, and more examples than there are."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)
        left = _N_IMAGES - self.n_validation - self.n_test
        if self.n_train > left:
            raise ExperimentError(
                f"n_train = {self.n_train}, but {self.n_validation} validation and {self.n_test} test examples "
                f"leave only {max(left, 0)} of {_N_IMAGES}"
            )

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError if these parameters cannot be trained."""
        check_names(parameters, (item.name for item in fields(Classifier)), "digits")
        Classifier.of(parameters)
        Recipe.of(parameters)

    def n_parameters(self, parameters: Mapping[str, Any]) -> int:
        """Return the number of trainable parameters, counted without building the network."""
        return Classifier.of(parameters).n_parameters

    def prepare(self) -> dict[str, NDArray[Any]]:
        """Return images `(n, 8, 8)` with values in [0, 1] and labels `(n,)` of the sets pool, validation and test."""
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        images = (images.reshape(-1, 8, 8) / 16.0).astype(np.float32)
        order = np.random.default_rng(self.split_seed).permutation(_N_IMAGES)
        ends = np.cumsum([self.n_validation, self.n_test])
        data = {}
        for name, rows in zip(("validation", "test", "pool"), np.split(order, ends), strict=True):
            data[f"{name}_images"], data[f"{name}_labels"] = images[rows], labels[rows].astype(np.int64)
        return data

    def network(self, parameters: Mapping[str, Any]) -> Any:
        """Return a new network."""
        return Classifier.of(parameters).network()

    def architecture(self, parameters: Mapping[str, Any]) -> object:
        """Return what tells a configuration's network from another one, dropout aside."""
        return replace(Classifier.of(parameters), dropout=0.0)

    def n_sample(self, n_pool: int) -> int:
        """Return the size of an instance's training sample."""
        return self.n_train

    def predict(self, parameters: Mapping[str, Any], weights: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the probabilities `(n, 10)` of the digits in images `(n, 8, 8)` with values in [0, 1]."""
        from raysearch.training import loop

        scores = loop.answer(self.network(parameters), weights, np.asarray(inputs, dtype=np.float32))
        return np.asarray(softmax(scores, axis=-1))
