"""Which epoch an instance's loss, weights and metrics are those of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_off import Report, count_epochs
from torch import Tensor, nn

from raysearch import training
from raysearch.losses.rmse import Rmse
from raysearch.recipe import Recipe
from raysearch.records import InstanceKey, InstanceResult, Status

SLOW = Recipe("SGD", lr=0.05, batch_size=16)


def passing_by(n: int = 64) -> training.Sets:
    """A line to learn, and half of it to be judged by: the loss falls until the network is half way, then rises."""
    x = torch.linspace(-1.0, 1.0, n)[:, None]
    y = 2.0 * x[:, 0] + 1.0
    return training.Sets((x, y), (x, 0.5 * y), (x[::2], 0.5 * y[::2]))


def build() -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    nn.init.zeros_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    return network


def train(recipe: Recipe = SLOW, report: Any = None, **settings: Any) -> InstanceResult:
    chosen = training.Settings(**({"epochs": 30, "device": "cpu"} | settings))
    key, sets = InstanceKey("c", 0), passing_by()
    return training.instance(key, build, sets, Rmse(), recipe, chosen, 0, report or Report(None), shaped_by=None)


def loss_of_kept_weights(result: InstanceResult, examples: tuple[Tensor, Tensor]) -> float:
    return float(Rmse()(torch.tensor(training.answer(build(), result.weights, examples[0].numpy())), examples[1]))


@pytest.mark.parametrize(
    "more", [{}, {"average": "swa", "average_start": 0.1}, {"average": "ema", "average_start": 0.1}], ids=str
)
def test_with_patience_loss_weights_and_metrics_are_those_of_the_best_epoch(more: dict[str, Any]) -> None:
    recipe = Recipe("SGD", lr=0.05, batch_size=16, **more)
    result, sets = train(recipe, patience=3), passing_by()
    best = min(range(len(result.curve)), key=lambda epoch: result.curve[epoch])
    assert best > 2
    assert result.epochs == best + 1 + 3
    assert result.status is Status.COMPLETE
    assert result.loss == result.curve[best] < result.curve[-1]
    assert loss_of_kept_weights(result, sets.validation) == pytest.approx(result.loss, rel=1e-5)
    assert loss_of_kept_weights(result, sets.test) == pytest.approx(result.test_loss, rel=1e-5)
    cut_short = train(recipe, epochs=best + 1, patience=99) if not more else None
    if cut_short:  # the best epoch is its last: everything must be the same
        assert (result.loss, result.test_loss, result.weights) == (
            cut_short.loss,
            cut_short.test_loss,
            cut_short.weights,
        )
        assert result.metrics == cut_short.metrics


def test_the_best_epoch_counts_too_where_patience_was_not_used_up() -> None:
    result = train(epochs=8, patience=8)
    assert result.epochs == 8
    assert result.loss == min(result.curve) < result.curve[-1]


def test_without_patience_the_last_epoch_counts() -> None:
    result = train()
    assert result.loss == result.curve[-1] > min(result.curve)
    assert loss_of_kept_weights(result, passing_by().validation) == pytest.approx(result.loss, rel=1e-5)


def test_a_training_that_diverges_after_its_best_epoch_has_diverged() -> None:
    class Bursting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            self.n = getattr(self, "n", 0) + (not self.training)
            return super().forward(x) * (math.nan if self.n == 4 else 1.0)

    recipe, settings = SLOW, training.Settings(9, patience=3, device="cpu")
    result = training.instance(
        InstanceKey("c", 0),
        lambda: Bursting(*build()),
        passing_by(),
        Rmse(),
        recipe,
        settings,
        0,
        Report(None),
        shaped_by=None,
    )
    assert (result.status, result.loss, result.epochs) == (Status.DIVERGED, math.inf, 4)
    assert result.test_loss is None


@pytest.mark.parametrize("more", [{}, {"average": "ema", "average_start": 0.1}, {"average": "swa"}], ids=str)
def test_the_best_weights_survive_a_kill(more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe("SGD", lr=0.05, batch_size=16, **more)
    whole = train(recipe, patience=4)
    best = whole.curve.index(whole.loss) + 1
    assert whole.epochs == best + 4
    for last in (best - 1, best, best + 2):
        with pytest.raises(ConnectionError):
            train(recipe, Report(tmp_path, last=last), patience=4)
        trained = count_epochs(monkeypatch)
        again = train(recipe, Report(tmp_path), patience=4)
        monkeypatch.undo()
        assert len(trained) == whole.epochs - last
        assert (again.loss, again.curve, again.test_loss) == (whole.loss, whole.curve, whole.test_loss)
        assert (again.weights, again.metrics) == (whole.weights, whole.metrics)
