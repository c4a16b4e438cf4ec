import pytest
import torch

from raysearch.errors import ExperimentError
from raysearch.registry import load
from raysearch.training.losses import Step
from raysearch.training.losses.adversarial_training import AdversarialTraining
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures._attacks import box, fgsm

INPUTS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def step(module, task, inputs=INPUTS, seed=3):
    return Step(module, inputs, torch.arange(len(inputs)), task, torch.Generator().manual_seed(seed))


def test_one_step_is_the_loss_on_the_examples_of_the_measures_fgsm():
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 3)
    moved = fgsm(module, INPUTS, LABELS, CrossEntropy(), box(INPUTS, 0.25))
    loss = AdversarialTraining(0.25)(module(INPUTS), LABELS, step(module, CrossEntropy()))
    torch.testing.assert_close(loss, CrossEntropy()(module(moved), LABELS))
    assert loss > CrossEntropy()(module(INPUTS), LABELS)


def test_a_share_of_the_loss_is_that_on_the_examples_as_they_are():
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 3)
    clean = CrossEntropy()(module(INPUTS), LABELS)
    whole = AdversarialTraining(0.25)(module(INPUTS), LABELS, step(module, CrossEntropy()))
    mixed = AdversarialTraining(0.25, share=0.25)(module(INPUTS), LABELS, step(module, CrossEntropy()))
    torch.testing.assert_close(mixed, 0.75 * clean + 0.25 * whole)


def test_several_steps_find_worse_examples_within_the_same_box_and_range():
    seen = []

    def network(x):
        """Answer most at 0.8 from the middle, where one whole step from 1 or -1 goes beyond."""
        seen.append(x.detach())
        return torch.exp(-20.0 * (x[:, 0].abs() - 0.8).square())

    inputs, targets = torch.tensor([[-1.0], [1.0], [-1.0], [1.0]]), torch.zeros(4)
    plain = network(inputs)
    loss = AdversarialTraining(0.5, n_steps=20)(plain, targets, step(network, Rmse(), inputs))
    moved = seen[-1]
    assert float((moved - inputs).abs().max()) <= box(inputs, 0.5) + 1e-5
    assert inputs.min() <= moved.min()
    assert moved.max() <= inputs.max()
    one = AdversarialTraining(0.5)(plain, targets, step(network, Rmse(), inputs))
    assert float(one) == pytest.approx(float(network(torch.tensor([[0.5]]))))
    assert float(loss) > 0.95 > float(one)


def test_images_in_bytes_and_numbers_as_targets_can_be_moved_and_weights_get_a_gradient():
    weight = torch.ones(1, requires_grad=True)

    def network(x):
        return (weight * x.float()).sum(dim=1)

    inputs = torch.tensor([[0, 10], [20, 250]], dtype=torch.uint8)
    targets = torch.tensor([5.0, 400.0])
    loss = AdversarialTraining(0.1)(network(inputs), targets, step(network, Rmse(), inputs))
    width = 0.1 * float(inputs.float().std(correction=0))
    # the first is above its target and moves up (a 0 may), the second is below it and moves down
    moved = torch.tensor([10.0 + 2 * width, 270.0 - 2 * width])
    assert float(loss.detach()) == pytest.approx(float(Rmse()(moved, targets)), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, weight)
    assert float(gradient) != 0.0


@pytest.mark.parametrize("bad", [{"epsilon": 0.0}, {"n_steps": 0}, {"share": 1.5}])
def test_attacks_that_are_none_are_refused(bad):
    with pytest.raises(ExperimentError, match=r"must be (above 0|at least 1|at most 1), got"):
        load("losses", "adversarial_training", **bad)


def test_it_never_scores():
    with pytest.raises(ValueError, match="never scores"):
        AdversarialTraining()(torch.zeros(1, 2), torch.tensor([0]))
