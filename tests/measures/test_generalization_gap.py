import pytest
import torch
from torch import nn

from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.measures import EvaluatedModel
from raysearch.training.measures.generalization_gap import GeneralizationGap


def test_it_is_the_loss_on_unseen_less_that_on_taught_examples():
    unseen = (torch.tensor([1.0, 1.0]), torch.tensor([4.0, 4.0]))
    subject = EvaluatedModel(nn.Identity(), *unseen, Rmse(), taught=(torch.tensor([0.0]), torch.tensor([1.0])))
    found = GeneralizationGap()(subject).numbers
    assert found == pytest.approx({"gap": 2.0, "loss": 3.0, "taught_loss": 1.0, "permuted_loss": 3.0})


def test_a_classifier_has_an_error_gap_and_loses_on_permuted_labels():
    labels = torch.arange(100) % 2
    scores = 4.0 * nn.functional.one_hot(labels, 2).float()
    subject = EvaluatedModel(nn.Identity(), scores, labels, CrossEntropy(), taught=(scores, labels))
    found = GeneralizationGap()(subject).numbers
    assert found["gap"] == found["error_gap"] == 0.0
    assert found["permuted_loss"] > 1.0 > found["loss"]


def test_it_needs_what_was_taught():
    with pytest.raises(ValueError, match="taught"):
        GeneralizationGap()(EvaluatedModel(nn.Identity(), torch.zeros(1), torch.zeros(1), Rmse()))
