import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures._attacks import box, fgsm, pgd
from raysearch.training.measures.adversarial import Adversarial


def difference():
    """Score of class 1 less that of class 0 is 2 (x0 - x1)."""
    module = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[-1.0, 1.0], [1.0, -1.0]]))
    return module


# margins x0 - x1 of 0.2, 1 and -1: FGSM moves a margin by twice the width, against the label
INPUTS = torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.0, 1.0]])
LABELS = torch.tensor([1, 1, 0])


def test_fgsm_moves_every_value_by_the_width_against_the_label():
    moved = fgsm(difference(), INPUTS, LABELS, CrossEntropy(), 0.15)
    torch.testing.assert_close(moved[0], torch.tensor([0.45, 0.55]))
    torch.testing.assert_close(moved[1], torch.tensor([0.85, 0.15]))
    assert moved.min() >= 0.0
    assert moved.max() <= 1.0


def test_pgd_ends_in_the_box_where_a_linear_network_is_worst():
    moved = pgd(difference(), INPUTS, LABELS, CrossEntropy(), 0.15, 10, torch.zeros_like(INPUTS))
    torch.testing.assert_close(moved, fgsm(difference(), INPUTS, LABELS, CrossEntropy(), 0.15))


def test_the_attack_fools_the_example_with_the_small_margin_only():
    width = 0.15
    epsilon = width / float(INPUTS.std(correction=0))
    assert box(INPUTS, epsilon) == pytest.approx(width)
    found = Adversarial(epsilon)(EvaluatedModel(difference(), INPUTS, LABELS, CrossEntropy())).numbers
    assert found["clean_error"] == 0.0
    assert found["fgsm_error"] == pytest.approx(1 / 3)
    assert found["pgd_error"] == pytest.approx(1 / 3)
    p = torch.tensor([0.1, -0.1]).softmax(dim=0)  # the fooled example ends at (0.45, 0.55): scores (0.1, -0.1)
    assert found["nte"] == pytest.approx(float(p[0] - p[1]), abs=1e-5)


def test_a_regression_is_attacked_by_its_loss():
    module = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Flatten(0))
    nn.init.constant_(module[0].weight, 2.0)
    inputs = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    targets = torch.tensor([0.0, 1.0, 4.0, 6.0])  # the second is off by 1
    epsilon = 0.25 / float(inputs.std(correction=0))
    found = Adversarial(epsilon)(EvaluatedModel(module, inputs, targets, Rmse())).numbers
    assert found["clean_error"] == pytest.approx(0.5)
    assert found["fgsm_error"] >= 0.75  # 2 * 0.25 more on the second example, at least
    assert "nte" not in found
    assert 0.0 < found["eni"] <= 2.0 + 1e-5  # |change of |residual|| is at most |w| |displacement|
