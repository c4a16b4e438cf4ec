import math

import pytest
import torch
from torch import nn

from raysearch.records import InstanceKey, Status
from raysearch.training import loop as training
from raysearch.training.job import Common, Job, Sets, Settings
from raysearch.training.losses.rmse import Rmse
from raysearch.training.recipe import Recipe

KEY = InstanceKey("c", 0)


def quiet(epoch, loss):
    pass


def line(n=64):
    x = torch.linspace(-1.0, 1.0, n)[:, None]
    return Sets((x, 2.0 * x[:, 0] + 1.0), (x, 2.0 * x[:, 0] + 1.0), (x[:5], 2.0 * x[:5, 0] + 1.0))


def build():
    return nn.Sequential(nn.Linear(1, 1), nn.Flatten(0))


def train(recipe=None, build=build, seed=0, report=quiet, sets=None, **settings):
    recipe = recipe or Recipe("SGD", lr=0.1, batch_size=16)
    settings = Settings(**({"epochs": 30, "device": "cpu"} | settings))
    common = Common(sets or line(), Rmse(), settings)
    return training.instance(Job(KEY, build, recipe, seed, None), common, report)


def test_a_line_is_learned_and_the_result_says_so():
    heard = []
    result = train(Recipe("Adam", lr=0.1, batch_size=8), report=lambda epoch, loss: heard.append((epoch, loss)))
    assert result.loss < 0.05
    assert result.test_loss < 0.1
    assert [epoch for epoch, _ in heard] == list(range(1, 31))
    assert tuple(loss for _, loss in heard) == result.curve
    weights = training.answer(build(), result.weights, torch.tensor([[0.0], [1.0]]).numpy())
    assert weights == pytest.approx([1.0, 3.0], abs=0.1)


@pytest.mark.parametrize("optimizer", ["AdamW", "NAdam", "Adam", "Adamax", "RAdam", "RMSprop", "SGD"])
def test_every_optimizer_trains(optimizer):
    result = train(Recipe(optimizer, lr=0.02, batch_size=16, weight_decay=0.001), epochs=8)
    assert result.status is Status.COMPLETE
    assert result.curve[-1] < result.curve[0]


def test_one_seed_fixes_weights_order_and_dropout_and_leaves_the_global_generator_alone():
    def with_dropout():
        return nn.Sequential(nn.Linear(1, 8), nn.Dropout(0.5), nn.Linear(8, 1), nn.Flatten(0))

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one = train(build=with_dropout, seed=5, epochs=3)
    assert torch.random.get_rng_state().equal(before)
    torch.manual_seed(2)
    assert train(build=with_dropout, seed=5, epochs=3).curve == one.curve
    assert train(build=with_dropout, seed=6, epochs=3).curve != one.curve


def test_patience_ends_an_instance_that_no_longer_improves():
    result = train(Recipe("SGD", lr=1e-12, batch_size=16), epochs=50, patience=4)
    assert result.epochs == 5  # the first was the best
    assert result.status is Status.COMPLETE
    assert train(Recipe("SGD", lr=0.01, batch_size=16), epochs=12, patience=4).epochs == 12


def test_a_diverged_instance_ends_at_once_and_counts_as_infinite():
    result = train(Recipe("SGD", lr=1e30, batch_size=16))
    assert result.status is Status.DIVERGED
    assert result.loss == math.inf
    assert result.epochs < 30
    assert result.test_loss is None
    assert all(math.isfinite(value) for value in result.metrics.values())


def test_cosine_lowers_the_learning_rate_to_nothing():
    rates = []

    class Watched(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    torch.optim.SGD, original = Watched, torch.optim.SGD
    try:
        train(Recipe("SGD", lr=0.1, batch_size=64, schedule="cosine"), epochs=4)
    finally:
        torch.optim.SGD = original
    assert rates == pytest.approx([0.1, 0.1 * (2 + 2**0.5) / 4, 0.05, 0.1 * (2 - 2**0.5) / 4])


def test_every_example_is_seen_once_an_epoch_and_the_last_batch_counts():
    seen = []

    class Spy(nn.Linear):
        def forward(self, x):
            if self.training:
                seen.append(x[:, 0].tolist())
            return super().forward(x)

    train(build=lambda: nn.Sequential(Spy(1, 1), nn.Flatten(0)), epochs=2, sets=line(20))
    assert [len(batch) for batch in seen] == [16, 4, 16, 4]
    first, second = seen[0] + seen[1], seen[2] + seen[3]
    assert sorted(first) == sorted(second) == pytest.approx(torch.linspace(-1, 1, 20).tolist())
    assert first != second


def test_the_thread_setting_holds_for_the_instance_only():
    before = torch.get_num_threads()
    inside = []
    train(n_threads=1, epochs=1, report=lambda epoch, loss: inside.append(torch.get_num_threads()))
    assert inside == [1]
    assert torch.get_num_threads() == before


def test_the_metrics_say_how_much_the_answers_still_change_at_the_end():
    still, restless = (train(Recipe("SGD", lr=lr, batch_size=16)).metrics["epoch_instability"] for lr in (1e-12, 0.1))
    assert still == pytest.approx(0.0, abs=1e-6)
    assert restless > 1e-4
    assert "epoch_instability" not in train(epochs=1).metrics
