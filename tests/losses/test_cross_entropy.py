import math

import pytest
import torch

from raysearch.training.losses.cross_entropy import CrossEntropy


def test_it_is_the_mean_negative_log_probability_of_the_label():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]))
    expected = -(math.log(0.5) + math.log(0.1)) / 2
    assert float(CrossEntropy()(logits, torch.tensor([0, 1]))) == pytest.approx(expected)


def test_equal_logits_cost_the_logarithm_of_the_number_of_classes():
    assert float(CrossEntropy()(torch.zeros(4, 10), torch.arange(4))) == pytest.approx(math.log(10))


def test_it_agrees_with_torch():
    logits = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1])
    torch.testing.assert_close(CrossEntropy()(logits, labels), torch.nn.functional.cross_entropy(logits, labels))
