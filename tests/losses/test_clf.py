import pytest
import torch

from raysearch.errors import ExperimentError
from raysearch.registry import load
from raysearch.training.losses import Step
from raysearch.training.losses.clf import Clf
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse


def step(task, previous=None):
    generator = torch.Generator().manual_seed(0)
    return Step(torch.nn.Identity(), torch.zeros(0), torch.zeros(0, dtype=torch.long), task, generator, previous)


def test_each_term_is_what_a_hand_computes():
    p = torch.tensor([[0.5, 0.5], [0.7, 0.3], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 1])
    task = float(CrossEntropy()(p.log(), labels))
    # class 0: mean (0.6, 0.4), each 0.1 away in both components; class 1 has one member
    variance = ((0.01 + 0.01) * 2 / 2 + 0.0) / 2
    loss = Clf(alpha=0.5, beta=2.0)(p.log(), labels, step(CrossEntropy(), previous=1.5))
    assert float(loss) == pytest.approx(task + 0.5 * abs(task - 1.5) + 2.0 * variance)


def test_the_first_epoch_has_no_stable_term():
    logits, labels = torch.zeros(2, 3), torch.tensor([0, 1])
    assert float(Clf(0.9, 0.0)(logits, labels, step(CrossEntropy()))) == pytest.approx(float(torch.tensor(3.0).log()))


def test_a_regression_pays_for_the_variance_of_its_residuals():
    outputs, targets = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0])
    assert float(Clf(0.0, 0.5)(outputs, targets, step(Rmse()))) == pytest.approx(5**0.5 + 0.5 * 1.0)


@pytest.mark.parametrize(("previous", "factor"), [(0.0, 1.3), (100.0, 0.7)])
def test_the_stable_term_rescales_the_gradient_of_the_task_loss(previous, factor):
    outputs = torch.tensor([1.0, 3.0], requires_grad=True)
    targets = torch.zeros(2)
    (plain,) = torch.autograd.grad(Rmse()(outputs, targets), outputs)
    (with_term,) = torch.autograd.grad(Clf(0.3, 0.0)(outputs, targets, step(Rmse(), previous)), outputs)
    torch.testing.assert_close(with_term, factor * plain)


@pytest.mark.parametrize("bad", [{"alpha": 1.0}, {"alpha": -0.1}, {"beta": -1.0}])
def test_weights_that_cannot_train_are_refused(bad):
    with pytest.raises(ExperimentError, match=r"must be (at least 0|below 1), got"):
        load("losses", "clf", **bad)


def test_it_never_scores():
    with pytest.raises(ValueError, match="never scores"):
        Clf()(torch.zeros(1, 2), torch.tensor([0]))
