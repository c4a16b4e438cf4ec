import math

import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures.calibration import Calibration


def measured(p, labels):
    subject = EvaluatedModel(nn.Identity(), torch.tensor(p).log(), torch.tensor(labels), CrossEntropy())
    return Calibration()(subject).numbers


def test_a_network_that_is_as_sure_as_it_is_right_has_no_error():
    found = measured([[0.75, 0.25]] * 4, [0, 0, 0, 1])
    assert found["miscalibration"] == pytest.approx(0.0, abs=1e-6)
    assert found["nll"] == pytest.approx(-(3 * math.log(0.75) + math.log(0.25)) / 4)
    assert found["brier"] == pytest.approx((3 * (0.0625 + 0.0625) + 2 * 0.5625) / 4)


def test_overconfidence_is_its_distance_from_the_accuracy():
    assert measured([[0.9, 0.1]] * 4, [0, 0, 1, 1])["miscalibration"] == pytest.approx(0.4, abs=1e-6)


def test_the_surest_examples_are_taken_first():
    # accuracy at coverage 1/2 is 1, at 1 it is 1/2: mean 3/4
    assert measured([[0.6, 0.4], [0.9, 0.1]], [1, 0])["rejection_loss"] == pytest.approx(0.25)
    assert measured([[0.9, 0.1], [0.6, 0.4]], [1, 0])["rejection_loss"] == pytest.approx(1 - (0 + 0.5) / 2)


def test_a_regression_has_a_bias_and_a_slope():
    targets = torch.tensor([0.0, 2.0, 4.0])
    subject = EvaluatedModel(nn.Identity(), targets / 2 + 1, targets, Rmse())
    found = Calibration()(subject).numbers
    assert found["slope"] == pytest.approx(2.0)
    assert found["miscalibration"] == pytest.approx(0.0, abs=1e-6)
    subject = EvaluatedModel(nn.Identity(), targets + 1, targets, Rmse())
    assert Calibration()(subject).numbers["miscalibration"] == pytest.approx(1 / (8 / 3) ** 0.5)
