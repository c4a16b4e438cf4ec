import pytest
import torch

from raysearch.errors import ExperimentError
from raysearch.registry import load
from raysearch.training.losses import Step
from raysearch.training.losses.clf import Clf
from raysearch.training.losses.clf_examples import ClfExamples
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse


def step(task, index=(), each=None):
    generator, rows = torch.Generator().manual_seed(0), torch.tensor(index, dtype=torch.long)
    return Step(torch.nn.Identity(), torch.zeros(0), rows, task, generator, each=each)


def test_each_example_pays_for_the_change_of_its_own_loss():
    outputs, targets = torch.tensor([1.0, 3.0]), torch.zeros(2)
    before = torch.tensor([9.0, 5.0, 0.5])  # of the whole training set; the batch is its rows 2 and 1
    loss = ClfExamples(0.5, 0.0)(outputs, targets, step(Rmse(), (2, 1), before))
    assert float(loss) == pytest.approx(5**0.5 + 0.5 * (abs(1.0 - 0.5) + abs(3.0 - 5.0)) / 2)


def test_an_example_teaches_more_where_its_loss_rose_and_less_where_it_fell():
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    labels, before = torch.tensor([0, 0]), torch.tensor([0.1, 9.0])
    (plain,) = torch.autograd.grad(CrossEntropy()(logits, labels), logits)
    loss = ClfExamples(0.3, 0.0)(logits, labels, step(CrossEntropy(), (0, 1), before))
    (found,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(found, plain * torch.tensor([[1.3], [0.7]]))


def test_the_first_epoch_has_no_stable_term_and_the_variance_is_that_of_clf():
    p = torch.tensor([[0.5, 0.5], [0.7, 0.3], [0.1, 0.9]])
    labels = torch.tensor([0, 0, 1])
    found = ClfExamples(0.9, 2.0)(p.log(), labels, step(CrossEntropy()))
    assert found.equal(Clf(0.9, 2.0)(p.log(), labels, step(CrossEntropy())))


def test_a_task_loss_that_is_only_known_of_a_batch_is_refused():
    def of_a_batch(outputs, targets, step=None):
        return (outputs - targets).abs().mean()

    with pytest.raises(ValueError, match="has no of_members"):
        ClfExamples()(torch.ones(2), torch.zeros(2), step(of_a_batch, (0, 1), torch.ones(2)))


@pytest.mark.parametrize("bad", [{"alpha": 1.0}, {"alpha": -0.1}, {"beta": -1.0}])
def test_weights_that_cannot_train_are_refused(bad):
    with pytest.raises(ExperimentError, match=r"must be (at least 0|below 1), got"):
        load("losses", "clf_examples", **bad)


def test_it_never_scores():
    with pytest.raises(ValueError, match="never scores"):
        ClfExamples()(torch.zeros(1, 2), torch.tensor([0]))
