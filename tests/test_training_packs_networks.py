"""Which networks a pack can hold: all that treat examples one by one; the others train alone, to the same results."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import pytest
import safetensors.torch
import torch
from packed import Problem, assert_same, quiet, sets_of
from torch import Tensor, nn

from raysearch.training.job import Pair, Sets
from raysearch.training.losses.rmse import Rmse
from raysearch.training.packs import instances as training_packs
from raysearch.training.packs import network
from raysearch.training.packs.instances import instances
from raysearch.training.packs.loop import Pack
from raysearch.training.packs.turns import Draws
from raysearch.training.recipe import Recipe

RECIPES = [Recipe("AdamW", lr, 16, weight_decay=0.01) for lr in (0.01, 0.003)]


class Scaled(nn.Module):
    """Has a weight of its own beside those of its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(6, 2), nn.Parameter(torch.rand(2))

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values) * self.scale


class Centred(nn.Module):
    """Has a constant, and functions of torch between its layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 8), nn.Linear(8, 2)
        self.register_buffer("middle", torch.linspace(0.0, 1.0, 6))

    def forward(self, values: Tensor) -> Tensor:
        return self.second(torch.relu(self.first(values - self.middle)) + 1.0)


class Doubled(nn.Module):
    """Uses one layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.layer, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.last(torch.relu(self.layer(torch.relu(self.layer(self.first(values))))))


class Noise(Draws):
    def forward(self, values: Tensor) -> Tensor:
        return values + 0.1 * torch.randn_like(values) if self.training else values


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.path = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6, bias=False), nn.GELU(), nn.Dropout(0.2))

    def forward(self, values: Tensor) -> Tensor:
        return values + self.path(values)


def layers(*modules: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(6, 12), *modules, nn.Linear(12, 2))


PACKED = {
    "a weight beside layers": Scaled,
    "a constant and functions": Centred,
    "a layer used twice": Doubled,
    "residual, layer norm, dropout": lambda: nn.Sequential(Residual(), Residual(), nn.Linear(6, 2)),
    "batch norm": lambda: layers(nn.BatchNorm1d(12), nn.ReLU()),
    "batch norm without weights": lambda: layers(nn.BatchNorm1d(12, affine=False), nn.Tanh()),
    "slopes": lambda: layers(nn.PReLU(12)),
    "random slopes": lambda: layers(nn.RReLU()),
    "alpha dropout": lambda: layers(nn.SELU(), nn.AlphaDropout(0.2)),
    "noise that says so": lambda: layers(Noise(), nn.ReLU()),
    "channels": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)),
        nn.Conv1d(2, 4, 2),
        nn.GroupNorm(2, 4),
        nn.Dropout1d(0.2),
        nn.Flatten(),
        nn.Linear(8, 2),
    ),
    "softmax inside": lambda: layers(nn.Softmax(dim=1), nn.Dropout(1.0)),
    "one layer": lambda: nn.Linear(6, 2),
}


@pytest.mark.parametrize("name", PACKED)
def test_such_networks_train_together_as_they_do_alone(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))
    Problem(PACKED[name]).check(RECIPES)


class Slopes(nn.Module):
    """An image network with slopes after convolution and layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.slope = nn.Conv2d(1, 4, 3, padding="same", bias=False), nn.PReLU(4)
        self.second = nn.Conv2d(4, 4, 2, groups=2)
        self.layer, self.last = nn.Linear(8, 8), nn.PReLU()
        self.output = nn.Linear(8, 2)

    def forward(self, values: Tensor) -> Tensor:
        maps = self.second(self.slope(self.first(values.view(-1, 1, 2, 3))))
        return self.output(self.last(self.layer(maps.flatten(1))))


GROUPED = {
    "channels": PACKED["channels"],
    "slopes": PACKED["slopes"],
    "images and slopes": Slopes,
    "batch norm": lambda: layers(nn.BatchNorm1d(12), nn.ReLU()),
    "batch norm without weights": lambda: layers(nn.BatchNorm1d(12, affine=False), nn.ReLU()),
    "batch norm that remembers nothing": lambda: layers(nn.BatchNorm1d(12, track_running_stats=False), nn.ReLU()),
    "batch norm by count": lambda: layers(nn.BatchNorm1d(12, momentum=None), nn.ReLU()),
    "batch norm of maps": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2), nn.BatchNorm1d(4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
    ),
}


@pytest.mark.parametrize("name", GROUPED)
@pytest.mark.parametrize("loss", [None, "manifold"])
def test_as_on_a_gpu_grouped_kernels_train_the_same_to_within_rounding(
    name: str, loss: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "takes_turns", lambda device: False)
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))
    problem = Problem(GROUPED[name])
    # Adam would blow up the rounding of a bias before a batch norm, whose true gradient is 0
    jobs = problem.jobs([Recipe("SGD", lr, 16, loss=loss, loss_parameters=own) for lr, own in weights_of(loss)])
    for number, result in instances(jobs, problem.common, quiet):
        lone = problem.alone(jobs[number])
        assert result.curve == pytest.approx(lone.curve, rel=1e-4)
        states = [safetensors.torch.load(one.weights or b"") for one in (result, lone)]
        for path, values in states[0].items():
            torch.testing.assert_close(values, states[1][path], rtol=1e-3, atol=1e-4)


def weights_of(loss: str | None) -> list[tuple[float, dict[str, float]]]:
    return [(0.1, {}), (0.03, {"gamma": 0.5} if loss else {})]


class Standardised(nn.Module):
    """Mixes the examples of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer((values - values.mean(0)) / values.std(0))


class Silent(nn.Module):
    """Draws without saying so."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values + 1e-6 * torch.randn_like(values) if self.training else values)


class Counting(nn.Module):
    """Changes a buffer."""

    n: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)
        self.register_buffer("n", torch.zeros(()))

    def forward(self, values: Tensor) -> Tensor:
        if self.training:
            self.n += 1
        return self.layer(values)


class Idle(nn.Module):
    """Has a layer that it does not use, which decays where its gradient is zero, and not where it has none."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.idle = nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.second.weight = self.first.weight

    def forward(self, values: Tensor) -> Tensor:
        return self.last(self.second(torch.relu(self.first(values))))


class Own(nn.Module):
    """Has a buffer of its own from the start."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)
        self.register_buffer("own", torch.rand(6))

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values * self.own)


ALONE = {
    "mixes examples": (Standardised, "answers otherwise"),
    "draws in silence": (Silent, "draws random numbers by itself"),
    "changes a buffer": (Counting, "a buffer that the network changes"),
    "an idle layer": (Idle, "a weight that the loss does not depend on"),
    "tied layers": (Tied, "two layers with the same weights"),
    "a buffer of its own": (Own, "a buffer 'own' that differs from member to member"),
    "two types": (lambda: nn.Sequential(nn.Linear(6, 2), Half()), "weights of several types"),
    "two widths": (lambda: layers_by_seed(), "networks of different structure"),
}


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(2, dtype=torch.float64))

    def forward(self, values: Tensor) -> Tensor:
        return (values * self.scale).float()


def layers_by_seed() -> nn.Module:
    width = 4 + int(torch.rand(()) * 4)
    return nn.Sequential(nn.Linear(6, width), nn.ReLU(), nn.Linear(width, 2))


@pytest.mark.parametrize("name", ALONE)
def test_other_networks_train_alone_and_nobody_hears_of_the_attempt(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    build, reason = ALONE[name]
    heard: dict[int, list[int]] = {}
    with caplog.at_level(logging.INFO):
        Problem(build).check(RECIPES, lambda member, epoch, loss: heard.setdefault(member, []).append(epoch))
    assert heard == {number: [1, 2, 3] for number in range(4)}
    assert "4 instances train one by one" in caplog.text
    assert reason in caplog.text


@pytest.mark.parametrize(
    "more",
    [{"batch_size": 8}, {"optimizer": "NAdam"}, {"average": "ema"}, {"loss": "clf"}, {"freeze_from": 2}],
    ids=lambda more: next(iter(more)),
)
def test_recipes_that_do_not_fit_together_train_alone(more: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Problem(lambda: layers(nn.ReLU())).check([RECIPES[0], dataclasses.replace(RECIPES[0], **more)])
    assert "4 instances train one by one: recipes that do not fit together" in caplog.text


def two_numbers() -> Sets:
    """Return a problem with two numbers to be found for each example."""

    def numbers(pair: Pair) -> Pair:
        return pair[0], pair[0][:, :2] * pair[0][:, 2:4]

    sets = sets_of()
    return Sets(numbers(sets.train), numbers(sets.validation))


@dataclasses.dataclass(frozen=True)
class Lone:
    """A task loss that knows nothing of packs."""

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        return (outputs - targets).abs().mean()


def test_targets_of_several_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))
    Problem(lambda: layers(nn.ReLU()), two_numbers(), Rmse()).check(RECIPES)


def test_instances_with_a_task_loss_that_knows_nothing_of_packs_train_alone(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        Problem(lambda: layers(nn.ReLU()), two_numbers(), Lone()).check(RECIPES)
    assert "a task loss without of_members" in caplog.text


def test_with_several_threads_instances_train_alone(caplog: pytest.LogCaptureFixture) -> None:
    problem = Problem(lambda: layers(nn.ReLU()))
    settings = dataclasses.replace(problem.common.settings, n_threads=2)
    problem.common = dataclasses.replace(problem.common, settings=settings)
    with caplog.at_level(logging.INFO):
        problem.check(RECIPES)
    assert "several threads" in caplog.text


def test_no_instances_have_no_results() -> None:
    problem = Problem(lambda: layers(nn.ReLU()))
    assert list(instances([], problem.common, quiet)) == []


def test_one_that_trains_alone_may_be_told_to_end() -> None:
    problem = Problem(Standardised)
    jobs = problem.jobs(RECIPES)
    found = dict(instances(jobs, problem.common, lambda member, epoch, loss: (member, epoch) != (1, 2)))
    assert sorted(found) == [0, 2, 3]
    for number, result in found.items():
        assert_same(result, problem.alone(jobs[number]))


def test_an_error_in_a_network_is_the_errors_own() -> None:
    class Broken(nn.Linear):
        def forward(self, values: Tensor) -> Tensor:
            raise ArithmeticError("no such thing")

    problem = Problem(lambda: Broken(6, 2))
    with pytest.raises(ArithmeticError, match="no such thing"):
        list(instances(problem.jobs(RECIPES), problem.common, quiet))


def test_after_the_first_report_an_error_ends_the_pack(monkeypatch: pytest.MonkeyPatch) -> None:
    judge = Pack._judge

    def broken(pack: Any) -> None:
        judge(pack)
        if pack._epoch == 2:
            raise ArithmeticError

    monkeypatch.setattr(Pack, "_judge", broken)
    heard: list[int] = []
    problem = Problem(lambda: nn.Linear(6, 2))
    with pytest.raises(ArithmeticError):
        list(instances(problem.jobs(RECIPES), problem.common, lambda member, epoch, loss: heard.append(epoch)))
    assert heard == [1, 1, 1, 1]
