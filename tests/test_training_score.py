"""Which epoch an instance's loss, weights and metrics are those of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from cut_off import Report, count_epochs
from torch import Tensor, nn

from raysearch import registry
from raysearch.errors import ExperimentError
from raysearch.records import Configuration, InstanceKey, InstanceResult, Status
from raysearch.training import loop as training
from raysearch.training.job import Common, Job, Sets, Settings
from raysearch.training.losses.rmse import Rmse
from raysearch.training.recipe import Recipe

SLOW = Recipe("SGD", lr=0.05, batch_size=16)


def passing_by(n: int = 64) -> Sets:
    """A line to learn, and half of it to be judged by: the loss falls until the network is half way, then rises."""
    x = torch.linspace(-1.0, 1.0, n)[:, None]
    y = 2.0 * x[:, 0] + 1.0
    return Sets((x, y), (x, 0.5 * y), (x[::2], 0.5 * y[::2]))


def build() -> nn.Module:
    network = nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))
    nn.init.zeros_(network[0].weight)
    nn.init.zeros_(network[0].bias)
    return network


def train(recipe: Recipe = SLOW, report: Any = None, **settings: Any) -> InstanceResult:
    chosen = Settings(**({"epochs": 30, "device": "cpu"} | settings))
    job = Job(InstanceKey("c", 0), build, recipe, 0, None)
    return training.instance(job, Common(passing_by(), Rmse(), chosen), report or Report(None))


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


def test_best_is_the_best_epoch_of_a_whole_training() -> None:
    result, stopped = train(score="best"), train(patience=3)
    assert result.epochs == 30
    assert result.loss == min(result.curve) < result.curve[-1]
    assert loss_of_kept_weights(result, passing_by().validation) == pytest.approx(result.loss, rel=1e-5)
    assert (result.loss, result.weights, result.metrics) == (stopped.loss, stopped.weights, stopped.metrics)
    assert result.metrics["best_epoch"] == result.curve.index(result.loss) + 1


@pytest.mark.parametrize("k", [1, 5, 30])
def test_mean_last_k_is_the_mean_of_the_last_k_losses_of_the_same_training(k: int) -> None:
    result, last = train(score=f"mean_last_{k}"), train()
    assert result.loss == pytest.approx(sum(last.curve[-k:]) / k)
    assert (result.curve, result.weights, result.test_loss) == (last.curve, last.weights, last.test_loss)
    assert result.metrics == last.metrics


@pytest.mark.parametrize("score", ["best", "mean_last_3"])
def test_a_score_survives_a_kill(score: str, tmp_path: Path) -> None:
    whole = train(score=score)
    with pytest.raises(ConnectionError):
        train(report=Report(tmp_path, last=25), score=score)
    again = train(report=Report(tmp_path), score=score)
    assert (again.loss, again.curve, again.weights) == (whole.loss, whole.curve, whole.weights)


def test_a_diverged_training_has_no_mean() -> None:
    result = train(Recipe("SGD", lr=1e30, batch_size=16), score="mean_last_5")
    assert (result.status, result.loss) == (Status.DIVERGED, math.inf)


def test_the_teacher_of_fewer_epochs_is_no_trouble() -> None:
    recipe = Recipe("SGD", lr=0.05, batch_size=16, loss="tgtss", loss_parameters={"teacher_epochs": 2})
    result = train(recipe, score="mean_last_5")
    assert result.loss == pytest.approx(sum(result.curve[-5:]) / 5)


@pytest.mark.parametrize("name", ["calorimeter", "digits", "cifar10", "images"])
@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"score": "bets"}, "unknown score 'bets'. Did you mean 'best'"),
        ({"score": "mean"}, "unknown score 'mean'"),
        ({"score": "mean_last_k"}, "unknown score 'mean_last_k'. Did you mean 'mean_last_5'"),
        ({"score": "mean_last_0"}, "unknown score 'mean_last_0'"),
        ({"score": "mean_last_6", "epochs": 5}, "score = mean_last_6, but an instance has 5 epochs"),
        ({"score": "mean_last_2", "patience": 3}, "patience = 3 makes the best epoch the result"),
        ({"patience": 0}, "patience must be at least 1 or null, got 0"),
    ],
)
def test_impossible_scores_are_refused(name: str, settings: dict[str, Any], text: str) -> None:
    where = {"folder": "/nowhere"} if name == "cifar10" else {}
    with pytest.raises(ExperimentError) as caught:
        registry.load("workloads", name, **where, **settings)
    assert text in str(caught.value)


@pytest.mark.parametrize("name", ["calorimeter", "digits"])
def test_a_workload_passes_its_score_on(name: str) -> None:
    small = {"n_train": 60, "n_validation": 40, "n_test": 40, "epochs": 4}
    network = {"hidden": [4]} if name == "digits" else {"conv1": 2, "fc": [3]}
    configuration = Configuration.of({**network, "optimizer": "SGD", "lr": 0.3, "batch_size": 16})

    def train(score: str) -> InstanceResult:
        workload = registry.load("workloads", name, score=score, **small)
        found: InstanceResult = workload.train(configuration, [3], lambda *_: None, workload.prepare())[0]
        return found

    last, best, mean = train("last"), train("best"), train("mean_last_3")
    assert last.curve == best.curve == mean.curve
    assert (last.loss, best.loss) == (last.curve[-1], min(last.curve))
    assert mean.loss == pytest.approx(sum(last.curve[-3:]) / 3)


def test_a_training_that_diverges_after_its_best_epoch_has_diverged() -> None:
    class Bursting(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            self.n = getattr(self, "n", 0) + (not self.training)
            return super().forward(x) * (math.nan if self.n == 4 else 1.0)

    job = Job(InstanceKey("c", 0), lambda: Bursting(*build()), SLOW, 0, None)
    common = Common(passing_by(), Rmse(), Settings(9, patience=3, device="cpu"))
    result = training.instance(job, common, Report(None))
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
