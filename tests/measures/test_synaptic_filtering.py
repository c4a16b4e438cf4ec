import numpy as np
import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._filters import Bench, Curves, curves, fragile_layers, keep
from raysearch.training.measures.synaptic_filtering import SynapticFiltering, kind_of

WEIGHTS = torch.tensor([-1.0, -0.5, 0.0, 0.5, 1.0])


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("high", [0.5, 1.0]),  # w -> 0 where w <= 0
        ("low", [-1.0, -0.5]),  # w -> 0 where w >= 0
        ("pulse", [-1.0, 0.5, 1.0]),  # w -> 0 where -0.5 <= w < 0.5
    ],
)
def test_what_a_filter_at_zero_leaves_of_signed_weights(kind, left):
    assert WEIGHTS[keep(WEIGHTS, kind, 0.0, 0.5)].tolist() == left


def two_lines():
    """Scores (x0, 2 x1): weights 1, 0, 0, 2. Class 1 where 2 x1 > x0; a tie is class 0."""
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    inputs = torch.tensor([[3.0, 1.0], [3.0, 1.2], [0.0, 1.0], [0.5, 1.0]])
    return module, inputs, torch.tensor([0, 0, 1, 1])


def test_the_filtered_accuracy_of_a_linear_layer_can_be_counted():
    module, inputs, labels = two_lines()
    bench = Bench(module, inputs, labels, CrossEntropy(), epsilon=1e-9)
    found = curves(bench, {"": module.weight.detach()}, "high", 5)  # thresholds 0, 0.5, 1, 1.5, 2
    # 0 and 0.5 leave 1 and 2; 1 and 1.5 leave the 2 alone: every x1 > 0 is class 1; 2 leaves nothing: ties, class 0
    assert found.clean.tolist() == [1.0, 1.0, 0.5, 0.5, 0.5]
    assert found.left.tolist() == [0.5, 0.5, 0.25, 0.25, 0.0]
    low = curves(bench, {"": module.weight.detach()}, "low", 5)
    # threshold 0 leaves nothing; 0.5 and 1 the zeros; 1.5 and 2 the 1 as well: class 0 wherever x0 > 0, a tie at 0
    assert low.left.tolist() == [0.0, 0.5, 0.5, 0.75, 0.75]
    assert low.clean.tolist() == [0.5] * 5
    assert module.weight.tolist() == [[1.0, 0.0], [0.0, 2.0]]


def test_a_network_that_loses_everything_under_attack_has_scores_that_mean_something():
    module, inputs, labels = two_lines()
    bench = Bench(module, inputs, labels, CrossEntropy(), epsilon=50.0)  # nothing is right any more
    found = curves(bench, {"": module.weight.detach()}, "high", 5)
    assert found.adversarial.max() <= 2.0  # all right over one of two by chance
    exact = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0))
    values = torch.arange(4.0)
    with torch.no_grad():
        exact[0].weight.fill_(1.0)
    perfect = Bench(exact, values[:, None], values, Rmse(), epsilon=1e-9)
    assert perfect.relative() == (1.0, pytest.approx(1.0, abs=0.1))


def test_scores_are_areas_between_the_curves():
    x = np.linspace(0.0, 1.0, 5)
    scores = Curves(x, clean=np.ones(5), adversarial=1.0 - x**2, left=1.0 - x).scores
    assert scores == pytest.approx({"clean": 0.5, "adversarial": 2 / 3 - 0.5, "difference": -1 / 3})


def test_the_measure_reports_every_layer_filter_and_score():
    module, inputs, labels = two_lines()
    model = nn.Sequential(module, nn.ReLU(), nn.Linear(2, 2))
    found = SynapticFiltering(n_thresholds=5)(EvaluatedModel(model, inputs, labels, CrossEntropy()))
    assert len(found.numbers) == 1 + 3 * 3 * 3
    expected = -np.mean([found.numbers[f"global.{kind}.difference"] for kind in ("high", "low", "pulse")])
    assert found.numbers["fragility"] == pytest.approx(expected)
    assert found.arrays["0.high"].shape == (4, 5)


def test_a_regression_is_harmed_where_its_loss_rises():
    module = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Flatten(0))
    with torch.no_grad():
        module[0].weight.copy_(torch.tensor([[1.0, 3.0]]))
    inputs = torch.eye(2)
    targets = torch.tensor([2.0, 3.0])  # off by 1 on the first: rmse sqrt(1/2)
    bench = Bench(module, inputs, targets, Rmse(), epsilon=1e-9)
    found = curves(bench, {"0": module[0].weight.detach()}, "high", 3)  # thresholds 1, 2, 3
    # without the 1 the first is off by 2: sqrt(4/2); without both: sqrt((4 + 9) / 2)
    assert found.clean == pytest.approx([0.5, 0.5, 1 / 13**0.5])


def test_the_spread_of_the_instances_is_the_tolerance():
    founds = [MeasureResult({"fragility": 0.0, "0.high.clean": -0.2 - d, "0.low.clean": d}, {}) for d in (-0.01, 0.01)]
    rows = SynapticFiltering().summarize(founds).tables["layers"]
    assert [row["is"] for row in rows] == ["fragile", "robust"]
    assert rows[0]["tolerance"] == pytest.approx(2 * 0.02 / 2**0.5, abs=1e-4)
    rows = SynapticFiltering(tolerance=0.5).summarize(founds).tables["layers"]
    assert [row["is"] for row in rows] == ["robust", "robust"]
    assert [kind_of(score, 0.1) for score in (-0.2, 0.1, 0.3)] == ["fragile", "robust", "antifragile"]


def test_at_least_one_layer_is_left_to_learn_and_the_mode_is_kept():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2)).train()
    _, inputs, labels = two_lines()
    assert len(fragile_layers(model, inputs, labels, CrossEntropy(), 0.0)) <= 1
    assert fragile_layers(model, inputs, labels, CrossEntropy(), 9.0) == []
    assert model.training
