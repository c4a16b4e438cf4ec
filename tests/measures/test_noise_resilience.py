import pytest
import torch
from torch import nn

from raysearch.errors import ExperimentError
from raysearch.registry import load
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures.noise_resilience import NoiseResilience


def squared(outputs, targets, step=None):
    return (outputs - targets).square().mean()


def line(w):
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0))
    nn.init.constant_(module[0].weight, w)
    inputs = torch.tensor([[1.0], [2.0]])
    return EvaluatedModel(module, inputs, torch.zeros(2), squared)


def test_the_rise_of_a_quadratic_loss_is_that_of_the_squared_weight():
    generator = torch.Generator().manual_seed(4)
    z = torch.cat([torch.randn(1, 1, generator=generator) for _ in range(5)])
    expected = float(((1 + 0.2 * z) ** 2 - 1).mean())  # L = 2.5 w^2
    subject = line(3.0)
    found = NoiseResilience(sigma=0.2, n_draws=5, seed=4)(subject)
    assert found.numbers["rise"] == pytest.approx(expected, rel=1e-5)
    assert found.numbers["loss"] == pytest.approx(22.5)
    assert subject.module[0].weight.item() == 3.0


def test_over_many_draws_the_rise_is_the_variance_of_the_noise():
    found = NoiseResilience(sigma=0.1, n_draws=4000)(line(1.0))
    assert found.numbers["rise"] == pytest.approx(0.01, abs=4 * 0.2 / 4000**0.5)


def test_no_noise_is_refused():
    with pytest.raises(ExperimentError, match="sigma"):
        load("measures", "noise_resilience", sigma=0.0)
