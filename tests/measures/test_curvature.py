import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures.curvature import Curvature


class Weights(nn.Module):
    """Answers its own weights, whatever the input: the loss below is a quadratic form of them."""

    def __init__(self, n):
        super().__init__()
        self.w = nn.Parameter(torch.linspace(1.0, 2.0, n))

    def forward(self, inputs):
        return self.w + 0.0 * inputs.sum()


def quadratic(matrix):
    def task(outputs, targets, step=None):
        return 0.5 * outputs @ matrix @ outputs

    n = len(matrix)
    return EvaluatedModel(Weights(n), torch.zeros(4, 1), torch.zeros(4), task)


def test_the_top_eigenvalue_of_a_quadratic_loss_is_that_of_its_matrix():
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))
    matrix = rotation @ torch.diag(torch.tensor([7.0, 3.0, 1.0, -2.0])) @ rotation.T
    found = Curvature()(quadratic(matrix))
    assert found.numbers["top_eigenvalue"] == pytest.approx(7.0, rel=1e-6)


def test_the_top_is_the_greatest_not_the_greatest_in_magnitude():
    for matrix, top in (([2.0, -5.0, 1.0], 2.0), ([-1.0, -2.0, -3.0], -1.0), ([3.0, 3.0, 3.0], 3.0)):
        found = Curvature()(quadratic(torch.diag(torch.tensor(matrix))))
        assert found.numbers["top_eigenvalue"] == pytest.approx(top, rel=1e-6)


def test_one_weight_has_a_curvature_too():
    assert Curvature()(quadratic(torch.tensor([[4.0]]))).numbers == {"top_eigenvalue": 4.0, "n_iterations": 1.0}


def test_a_hessian_that_is_not_finite_has_no_curvature():
    with pytest.raises(ValueError, match="the Hessian of the task loss is not finite"):
        Curvature()(quadratic(torch.full((3, 3), float("inf"))))


def test_an_eigenvalue_that_has_not_converged_is_no_number():
    matrix = torch.diag(torch.linspace(0.999, 1.0, 200))
    with pytest.raises(ValueError, match=r"not converged after \d+ .*\(n_iterations = 8, tolerance = 1e-06\): raise"):
        Curvature(n_iterations=8, tolerance=1e-6)(quadratic(matrix))


def test_a_linear_loss_is_flat():
    subject = EvaluatedModel(
        Weights(3), torch.zeros(2, 1), torch.zeros(2), lambda outputs, targets, step=None: outputs.sum()
    )
    assert Curvature()(subject).numbers["top_eigenvalue"] == pytest.approx(0.0, abs=1e-6)


def test_it_agrees_with_the_whole_hessian_of_a_small_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3))
        inputs = torch.randn(20, 3)
    labels = torch.arange(20) % 3
    subject = EvaluatedModel(module, inputs, labels, CrossEntropy())
    flat = nn.utils.parameters_to_vector(module.parameters()).detach()
    shapes = [(name, value.shape) for name, value in module.named_parameters()]

    def loss(vector):
        parts = torch.split(vector, [shape.numel() for _, shape in shapes])
        own = {name: part.view(shape) for part, (name, shape) in zip(parts, shapes, strict=True)}
        return CrossEntropy()(torch.func.functional_call(module.eval(), own, (inputs,)), labels)

    top = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1]
    module.train()
    found = Curvature()(subject)
    assert found.numbers["top_eigenvalue"] == pytest.approx(float(top), rel=1e-5)
    assert found.numbers["n_iterations"] <= 40
    assert module.training
