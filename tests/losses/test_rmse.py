import pytest
import torch

from raysearch.training.losses.rmse import Rmse


def test_errors_count_in_the_targets_unit():
    assert float(Rmse()(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))) == pytest.approx(12.5**0.5)
