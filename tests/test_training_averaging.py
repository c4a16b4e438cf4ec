import math

import pytest
import torch
from torch import nn

from raysearch.errors import ExperimentError
from raysearch.records import InstanceKey
from raysearch.training import distillation
from raysearch.training import loop as training
from raysearch.training.job import Common, Job, Sets, Settings
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.losses.rmse import Rmse
from raysearch.training.optimizer import rate_factor
from raysearch.training.recipe import Recipe

KEY = InstanceKey("c", 0)


def line(n=64):
    x = torch.linspace(-1.0, 1.0, n)[:, None]
    return Sets((x, 2.0 * x[:, 0] + 1.0), (x, 2.0 * x[:, 0] + 1.0))


def build():
    return nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))


def train(epochs=6, build=build, sets=None, task=None, seed=0, **recipe):
    recipe = Recipe(**({"optimizer": "SGD", "lr": 0.1, "batch_size": 16} | recipe))
    settings = Settings(epochs, device="cpu")
    common = Common(sets or line(), task or Rmse(), settings)
    return training.instance(Job(KEY, build, recipe, seed, None), common, lambda *_: None)


def weight_of(result):
    module = build()
    training.answer(module, result.weights, torch.zeros(1, 1).numpy())
    return module[0].weight.item()


def two_classes(n=80):
    x = torch.randn(n, 2, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).long()
    return Sets((x, labels), (x, labels))


def classifier():
    return nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 2))


def test_the_learning_rate_warms_up_evenly_and_then_follows_the_schedule():
    warm = rate_factor(Recipe("SGD", 0.1, 1, warmup_epochs=3), epochs=8)
    assert [warm(epoch) for epoch in range(5)] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    both = rate_factor(Recipe("SGD", 0.1, 1, warmup_epochs=1, schedule="cosine"), epochs=4)
    assert both(0) == pytest.approx(0.5)
    assert both(2) == pytest.approx(0.5 * (1 + math.cos(math.pi / 2)))


def test_a_clipped_step_is_no_longer_than_the_learning_rate_times_the_norm():
    plain, clipped = train(1, batch_size=64, lr=1.0), train(1, batch_size=64, lr=1.0, clip_norm=0.01)
    start = train(1, batch_size=64, lr=1e-12)
    assert abs(weight_of(clipped) - weight_of(start)) <= 0.01 + 1e-6
    assert abs(weight_of(plain) - weight_of(start)) > 0.05


def test_swa_keeps_the_mean_of_the_weights_at_the_ends_of_the_last_epochs():
    ends = [weight_of(train(n)) for n in (3, 4, 5, 6)]
    assert weight_of(train(6, average="swa", average_start=0.5)) == pytest.approx(sum(ends) / 4, abs=1e-6)


def test_ema_forgets_at_its_decay():
    # one step an epoch: average = d w2 + (1 - d) w3 after starting from w2
    one = {"batch_size": 64}
    two, three = weight_of(train(2, **one)), weight_of(train(3, **one))
    found = weight_of(train(3, average="ema", average_start=0.6, average_decay=0.75, **one))
    assert found == pytest.approx(0.75 * two + 0.25 * three, abs=1e-6)


def test_what_is_scored_is_what_is_kept():
    result = train(6, average="swa", average_start=0.5)
    module = build()
    kept = training.answer(module, result.weights, line().validation[0].numpy())
    assert float(Rmse()(torch.tensor(kept), line().validation[1])) == pytest.approx(result.loss)


def test_frozen_layers_stop_and_the_others_go_on(monkeypatch):
    from raysearch.training.measures import _filters

    monkeypatch.setattr(_filters, "fragile_layers", lambda *_: ["0"])
    module = classifier()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    settings = Settings(2, device="cpu")
    recipe = Recipe("AdamW", 0.01, 16, weight_decay=0.1, freeze_from=1)
    common, job = Common(two_classes(), CrossEntropy(), settings), Job(KEY, classifier, recipe, 0, None)
    training.fit(module, common.sets, job, common, lambda *_: None)
    after = module.state_dict()
    assert after["0.weight"].equal(before["0.weight"])
    assert after["0.bias"].equal(before["0.bias"])
    assert not after["2.weight"].equal(before["2.weight"])


def test_selective_backpropagation_trains_and_leaves_a_layer_to_learn():
    result = train(6, build=classifier, sets=two_classes(), task=CrossEntropy(), freeze_from=3)
    assert result.epochs == 6
    assert result.curve[-1] < result.curve[0]


def test_a_teacher_is_heard_and_does_not_change_where_the_student_starts():
    def first_loss(**recipe):
        return train(1, build=classifier, sets=two_classes(), task=CrossEntropy(), lr=1e-12, **recipe).loss

    assert first_loss(loss="tgtss") == pytest.approx(first_loss())
    plain = train(8, build=classifier, sets=two_classes(), task=CrossEntropy())
    taught = train(8, build=classifier, sets=two_classes(), task=CrossEntropy(), loss="tgtss")
    assert taught.curve != plain.curve
    assert taught.curve[-1] < taught.curve[0]
    again = train(8, build=classifier, sets=two_classes(), task=CrossEntropy(), loss="tgtss")
    assert again.curve == taught.curve
    fixed = {"loss": "tgtss", "loss_parameters": {"teacher_seed": 1}}  # the seed of the own teacher, then another's
    assert train(8, build=classifier, sets=two_classes(), task=CrossEntropy(), **fixed).curve == taught.curve
    fixed = {"loss": "tgtss", "loss_parameters": {"teacher_seed": 5}}
    assert train(8, build=classifier, sets=two_classes(), task=CrossEntropy(), **fixed).curve != taught.curve


def test_the_teachers_word_is_the_mean_over_its_epochs():
    answers = iter([torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])])
    heard = []

    class Scripted(nn.Module):
        def forward(self, x):
            return next(answers)

    def loop(module, recipe, seed, listen):
        heard.append((recipe.loss, seed))
        listen(module)
        listen(module)

    recipe = Recipe("SGD", 0.1, 1, loss="tgtss")
    soft = distillation.teach(Scripted, loop, recipe, torch.zeros(1, 3), 7, lambda z: z)
    assert soft.tolist() == [[0.5, 0.5]]
    assert heard == [(None, 7)]


@pytest.mark.parametrize(("first", "wanted"), [(1, 2.0), (2, 2.5), (3, 3.0), (9, 2.0)])
def test_a_teachers_early_epochs_can_be_left_out_and_one_that_ends_before_is_heard_whole(first, wanted):
    answers = iter([torch.tensor([[1.0]]), torch.tensor([[2.0]]), torch.tensor([[3.0]])])

    class Scripted(nn.Module):
        def forward(self, x):
            return next(answers)

    def loop(module, recipe, seed, listen):
        for _ in range(3):
            listen(module)

    recipe = Recipe("SGD", 0.1, 1, loss="tgtss")
    soft = distillation.teach(Scripted, loop, recipe, torch.zeros(1, 3), 7, lambda z: z, first=first)
    assert soft.tolist() == [[wanted]]


def test_tgtss_with_a_later_first_epoch_trains_otherwise_and_one_beyond_the_teachers_last_is_refused():
    def curve(**parameters):
        own = {"loss": "tgtss", "loss_parameters": parameters}
        return train(4, build=classifier, sets=two_classes(), task=CrossEntropy(), **own).curve

    assert curve(teacher_from=3) != curve()
    assert curve(teacher_from=1) == curve()
    with pytest.raises(ExperimentError, match="teacher_from = 5, but the teacher has 4 epochs"):
        curve(teacher_epochs=4, teacher_from=5)
    with pytest.raises(ExperimentError, match="teacher_from = 5, but the teacher has 4 epochs"):
        curve(teacher_from=5)


LOSSES = ["clf", "clf_live", "clf_examples", "label_smoothing", "confidence_penalty", "manifold", "tgtss"]


@pytest.mark.parametrize("loss", [*LOSSES, "adversarial_training"])
def test_every_training_loss_learns_classes_and_numbers_and_is_scored_on_the_task(loss):
    classes = train(10, build=classifier, sets=two_classes(), task=CrossEntropy(), loss=loss)
    numbers = train(10, optimizer="Adam", loss=loss)
    for result, build_it, sets, task in (
        (classes, classifier, two_classes(), CrossEntropy()),
        (numbers, build, line(), Rmse()),
    ):
        assert result.curve[-1] < result.curve[0]
        outputs = training.answer(build_it(), result.weights, sets.validation[0].numpy())
        assert float(task(torch.tensor(outputs), sets.validation[1])) == pytest.approx(result.loss, rel=1e-5)


@pytest.mark.parametrize(
    "bad",
    [
        {"average": "mean"},
        {"clip_norm": -1.0},
        {"warmup_epochs": 1.5},
        {"average_decay": 1.0},
        {"freeze_from": -1},
        {"freeze_score": "S"},
    ],
)
def test_impossible_recipes_are_refused(bad):
    with pytest.raises(ExperimentError, match=next(iter(bad))):
        Recipe("SGD", 0.1, 1, **bad)
