import pytest
import torch

from raysearch.training.losses import Step
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.manifold import Manifold, _neighbours
from raysearch.training.losses.relative_rmse import RelativeRmse

INPUTS = torch.tensor([[3.0, 4.0], [0.0, 1.0]])


def step(module, task, inputs=INPUTS):
    return Step(module, inputs, torch.arange(len(inputs)), task, torch.Generator().manual_seed(3))


def test_neighbours_are_as_far_as_the_radius_says():
    moved = _neighbours(INPUTS, 0.1, torch.Generator().manual_seed(0))
    torch.testing.assert_close((moved - INPUTS).norm(dim=1), torch.tensor([0.5, 0.1]))


def test_a_constant_network_pays_nothing():
    def constant(x):
        return torch.zeros(len(x), 3)

    labels = torch.tensor([0, 2])
    loss = Manifold(gamma=5.0)(constant(INPUTS), labels, step(constant, CrossEntropy()))
    torch.testing.assert_close(loss, CrossEntropy()(constant(INPUTS), labels))


def test_the_identity_pays_the_squared_distance_of_the_neighbours():
    generator = torch.Generator().manual_seed(3)
    one, other = (_neighbours(INPUTS, 0.1, generator) for _ in range(2))
    labels = torch.tensor([0, 1])
    loss = Manifold(gamma=2.0, radius=0.1)(INPUTS, labels, step(lambda x: x, CrossEntropy()))
    expected = CrossEntropy()(INPUTS, labels) + 2.0 * (one - other).square().sum(dim=1).mean()
    torch.testing.assert_close(loss, expected)


def test_a_relative_loss_measures_the_difference_relatively():
    def network(x):
        return x.sum(dim=1)

    generator = torch.Generator().manual_seed(3)
    one, other = (network(_neighbours(INPUTS, 0.1, generator)) for _ in range(2))
    targets = torch.tensor([10.0, 2.0])
    loss = Manifold(1.0, 0.1)(targets, targets, step(network, RelativeRmse()))
    assert float(loss) == pytest.approx(float(((one - other) / targets).square().mean()), rel=1e-4)
