import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures.corruption import Corruption, blurred


def test_blur_keeps_a_flat_image_and_spreads_a_point():
    flat = torch.full((2, 5, 5), 3.0)
    torch.testing.assert_close(blurred(flat, 1.0), flat)
    point = torch.zeros(1, 11, 11)
    point[0, 5, 5] = 1.0
    smooth = blurred(point, 1.0)
    assert float(smooth.sum()) == pytest.approx(1.0, abs=1e-5)
    kernel = torch.exp(-0.5 * torch.arange(-3, 4).float().square())
    centre = float(1.0 / kernel.sum()) ** 2
    assert float(smooth[0, 5, 5]) == pytest.approx(centre, abs=1e-6)


def test_noise_on_an_identity_is_the_error_that_was_added():
    inputs = torch.randn(4000, generator=torch.Generator().manual_seed(0)) * 2.0
    found = Corruption(noise=0.5, n_examples=4000)(EvaluatedModel(nn.Identity(), inputs, inputs, Rmse())).numbers
    assert found["clean_error"] == 0.0
    assert found["noise_error"] == pytest.approx(0.5 * float(inputs.std(correction=0)), rel=0.05)
    assert found["mean_error"] == found["noise_error"]
    assert "blur_error" not in found


def test_a_classifier_of_a_pixel_fails_where_the_pixel_is_blurred_away():
    class Pixel(nn.Module):
        def forward(self, images):
            bright = images[:, 3, 3]
            return torch.stack([0.5 - bright, bright - 0.5], dim=1)

    inputs = torch.zeros(2, 7, 7)
    inputs[1, 3, 3] = 1.0
    found = Corruption(noise=1e-6)(EvaluatedModel(Pixel(), inputs, torch.tensor([0, 1]), CrossEntropy())).numbers
    assert found["clean_error"] == found["noise_error"] == 0.0
    assert found["blur_error"] == 0.5
    assert found["mean_error"] == 0.25
