import pytest
import torch

from raysearch.training.losses.relative_rmse import RelativeRmse


def test_errors_count_relative_to_the_target():
    # relative errors 0.3 and -0.4
    assert float(RelativeRmse()(torch.tensor([13.0, 0.6]), torch.tensor([10.0, 1.0]))) == pytest.approx(0.125**0.5)
    assert float(RelativeRmse()(torch.tensor([2.0]), torch.tensor([2.0]))) == 0.0
