import math

import pytest
import torch

from raysearch.training.losses import Step
from raysearch.training.losses.confidence_penalty import ConfidencePenalty
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse


def step(task):
    return Step(torch.nn.Identity(), torch.zeros(0), torch.zeros(0), task, torch.Generator())


def test_the_entropy_of_a_known_distribution_is_taken_off():
    p = torch.tensor([[0.5, 0.5], [0.5, 0.5]])
    loss = ConfidencePenalty(0.25)(p.log(), torch.tensor([0, 1]), step(CrossEntropy()))
    assert float(loss) == pytest.approx(math.log(2) - 0.25 * math.log(2))


def test_a_sure_answer_gains_nothing():
    logits = torch.tensor([[100.0, 0.0]])
    assert float(ConfidencePenalty(0.5)(logits, torch.tensor([0]), step(CrossEntropy()))) == pytest.approx(0.0)


def test_a_regression_gains_the_entropy_of_its_residuals():
    outputs, targets = torch.tensor([2.0, -2.0]), torch.zeros(2)  # variance 4
    expected = 2.0 - 0.1 * 0.5 * math.log(2 * math.pi * math.e * 4.0)
    assert float(ConfidencePenalty(0.1)(outputs, targets, step(Rmse()))) == pytest.approx(expected)
    exact = ConfidencePenalty(0.1)(targets.clone().requires_grad_(True), targets, step(Rmse()))
    assert math.isfinite(exact.item())
