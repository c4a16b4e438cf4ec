import math

import pytest
import torch

from raysearch.training.losses import Step
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.label_smoothing import LabelSmoothing
from raysearch.training.losses.rmse import Rmse


def test_it_is_cross_entropy_with_the_smoothed_label():
    p = torch.tensor([[0.8, 0.2]])
    expected = -(0.9 * math.log(0.8) + 0.1 * math.log(0.2))  # epsilon 0.2: half of it to either class
    assert float(LabelSmoothing(0.2)(p.log(), torch.tensor([0]))) == pytest.approx(expected)


def test_it_agrees_with_its_formula_and_with_cross_entropy():
    logits = torch.randn(6, 4, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    wanted = 0.7 * torch.nn.functional.one_hot(labels, 4) + 0.3 / 4
    formula = -(wanted * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = LabelSmoothing(0.3)(logits, labels)
    torch.testing.assert_close(loss, formula)
    torch.testing.assert_close(torch.autograd.grad(loss, logits), torch.autograd.grad(formula, logits))
    torch.testing.assert_close(LabelSmoothing(0.0)(logits, labels), CrossEntropy()(logits, labels))


def test_a_regression_sees_targets_moved_towards_their_mean():
    task = Rmse()
    step = Step(torch.nn.Identity(), torch.zeros(0), torch.zeros(0), task, torch.Generator())
    targets = torch.tensor([0.0, 10.0])  # become 1 and 9
    assert float(LabelSmoothing(0.2)(torch.tensor([1.0, 9.0]), targets, step)) == pytest.approx(0.0)
    assert float(LabelSmoothing(0.2)(torch.tensor([1.0, 5.0]), targets, step)) == pytest.approx(8**0.5)
