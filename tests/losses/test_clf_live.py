import pytest
import torch

from raysearch.errors import ExperimentError
from raysearch.registry import load
from raysearch.training.losses import Step
from raysearch.training.losses.clf import Clf
from raysearch.training.losses.clf_live import ClfLive
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse


def step(module, task, last_batch=None):
    generator = torch.Generator().manual_seed(0)
    return Step(module, torch.zeros(0), torch.zeros(0, dtype=torch.long), task, generator, last_batch=last_batch)


def test_the_stable_term_is_the_distance_from_the_batch_before_under_the_weights_of_now():
    weight = torch.tensor(2.0, requires_grad=True)

    def network(x):
        return weight * x

    inputs, targets = torch.tensor([3.0]), torch.tensor([1.0])
    before = torch.tensor([1.0]), torch.tensor([0.0])
    loss = ClfLive(alpha=0.5, beta=0.0)(network(inputs), targets, step(network, Rmse(), before))
    # |3 w - 1| = 5 now and |w| = 2 on the batch before
    assert float(loss.detach()) == pytest.approx(5.0 + 0.5 * 3.0)
    (gradient,) = torch.autograd.grad(loss, weight)
    # a constant reference would leave 3 (1 + alpha) = 4.5
    assert float(gradient) == pytest.approx(3.0 + 0.5 * (3.0 - 1.0))


def test_an_epochs_first_batch_has_no_stable_term_and_the_variance_is_that_of_clf():
    p = torch.tensor([[0.5, 0.5], [0.7, 0.3], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 1])
    found = ClfLive(0.9, 2.0)(p.log(), labels, step(torch.nn.Identity(), CrossEntropy()))
    assert found.equal(Clf(0.9, 2.0)(p.log(), labels, step(torch.nn.Identity(), CrossEntropy())))


@pytest.mark.parametrize("bad", [{"alpha": -0.1}, {"beta": -1.0}])
def test_weights_that_cannot_train_are_refused(bad):
    with pytest.raises(ExperimentError, match="must be at least 0, got"):
        load("losses", "clf_live", **bad)


def test_it_never_scores():
    with pytest.raises(ValueError, match="never scores"):
        ClfLive()(torch.zeros(1, 2), torch.tensor([0]))
