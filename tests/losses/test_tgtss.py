import math

import pytest
import torch

from raysearch.training.losses import Step
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.losses.tgtss import Tgtss


def step(soft, index, task=None):
    task = task or CrossEntropy()
    return Step(torch.nn.Identity(), torch.zeros(0), torch.tensor(index), task, torch.Generator(), soft=soft)


def test_the_temperature_softens_the_teacher():
    p = Tgtss(tau=2.0).soften(torch.tensor([[2.0 * math.log(3.0), 0.0]]))
    torch.testing.assert_close(p, torch.tensor([[0.75, 0.25]]))


def test_the_student_learns_the_teachers_word_on_its_own_examples():
    soft = torch.tensor([[1.0, 0.0], [0.25, 0.75]])
    outputs = torch.tensor([[0.5, 0.5]]).log()
    loss = Tgtss()(outputs, torch.tensor([0]), step(soft, [1]))
    assert float(loss) == pytest.approx(math.log(2))
    steep = torch.tensor([[0.1, 0.9]]).log()
    expected = -(0.25 * math.log(0.1) + 0.75 * math.log(0.9))
    assert float(Tgtss()(steep, torch.tensor([0]), step(soft, [1]))) == pytest.approx(expected)


def test_a_regression_takes_the_teachers_answers_as_targets():
    soft = torch.tensor([1.0, 5.0, 3.0])
    loss = Tgtss()(torch.tensor([3.0, 1.0]), torch.zeros(2), step(soft, [2, 0], Rmse()))
    assert float(loss) == 0.0


def test_without_a_teacher_it_says_so():
    with pytest.raises(ValueError, match="teacher"):
        Tgtss()(torch.zeros(1, 2), torch.tensor([0]), step(None, [0]))
