"""An instance of a pack is the instance that it is alone, bit by bit, whatever its neighbours and their recipes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from packed import assert_same, check_pack, members_of, quiet

from raysearch import registry
from raysearch.records import Status
from raysearch.training.packs import instances as training_packs
from raysearch.training.packs.loop import Pack
from raysearch.workloads.calorimeter import Calorimeter
from raysearch.workloads.digits import Digits

PLAIN = {"hidden": [32, 20], "optimizer": "AdamW", "lr": 0.01, "batch_size": 32}
DIGITS = Digits(epochs=3, n_train=300)  # a last batch of 12
DATA = DIGITS.prepare()
_WIDE, _FLAT = {"conv1": 32, "conv2": 64}, {"conv1": 32, "conv2": 16, "pool2": [4, 4]}
NETWORKS = {
    "Model 1": ("energy", {**_WIDE, "pool2": [2, 1], "fc": [9], "optimizer": "NAdam"}),
    "Model 2": ("energy", {**_WIDE, "pool2": [2, 1], "fc": [9], "feature": True}),
    "Model 3": ("position", {**_WIDE, "pool2": [4, 4], "fc": [64, 9], "activation": "PReLU"}),
    "Model 4": ("position", {**_WIDE, "pool2": [4, 4], "fc": [64, 9], "activation": "PReLU", "feature": True}),
    "NAS 1": ("energy", {**_FLAT, "fc": [32, 9], "feature": True}),
    "NAS 2": ("energy", {**_FLAT, "fc": [128, 64, 9], "feature": True}),
    "small, sigmoid, dropout": ("position", {"conv1": 4, "fc": [16, 9], "activation": "Sigmoid", "dropout": 0.2}),
}


@pytest.fixture(autouse=True)
def _never_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no pack fall back on lone trainings, which would be the same whatever the pack is."""

    def fail(*_: Any) -> None:
        pytest.fail("trained one by one")

    monkeypatch.setattr(training_packs, "_one_by_one", fail)


@pytest.mark.parametrize("optimizer", ["AdamW", "NAdam", "Adam", "Adamax", "RAdam", "RMSprop", "SGD"])
def test_every_optimizer_with_rates_and_decays_of_their_own(optimizer: str) -> None:
    own = [{"lr": 0.01, "weight_decay": 0.1}, {"lr": 0.003}]
    check_pack(DIGITS, DATA, [{**PLAIN, "optimizer": optimizer, **more} for more in own])


@pytest.mark.parametrize(
    "own",
    [
        [{"optimizer": "SGD", "momentum": value, "weight_decay": 0.01} for value in (0.9, 0.0, 0.5)],
        [{"optimizer": "RMSprop", "momentum": value} for value in (0.0, 0.5)],
        [{"dropout": value} for value in (0.0, 0.2, 0.5)],
        [{"clip_norm": value} for value in (0.0, 0.1, 1.0)],
        [{"schedule": "cosine"}, {"schedule": "cosine", "warmup_epochs": 2}, {}],
        [{"average": "swa", "average_start": 0.3, "lr": lr} for lr in (0.01, 0.003)],
        [{"average": "ema", "average_start": 0.3, "lr": lr} for lr in (0.01, 0.003)],
        [{"conv": [8, 16], "dropout": 0.1}],
        [{"hidden": []}],
        [{"batch_size": 1}],
        [{"batch_size": 4000}],
    ],
    ids=lambda own: ", ".join(own[0]),
)
def test_recipes_may_differ_within_a_pack(own: list[dict[str, Any]]) -> None:
    check_pack(DIGITS, DATA, [{**PLAIN, **more} for more in own])


@pytest.mark.parametrize("activation", ["ReLU", "LeakyReLU", "ELU", "GELU", "SiLU", "Sigmoid", "Tanh"])
def test_every_activation_in_layers_that_fill_no_vectors(activation: str) -> None:
    check_pack(DIGITS, DATA, [{**PLAIN, "hidden": [17, 9], "activation": activation}])


LOSSES: dict[str, list[dict[str, Any]]] = {
    "clf": [{"loss_alpha": 0.1}, {"loss_alpha": 0.5, "loss_beta": 0.3}],
    "clf_live": [{"loss_alpha": 0.1}, {"loss_alpha": 0.5, "loss_beta": 0.3}],
    "clf_examples": [{"loss_alpha": 0.1}, {"loss_alpha": 0.5, "loss_beta": 0.3}],
    "adversarial_training": [{}, {"loss_n_steps": 3}, {"loss_epsilon": 0.1, "loss_share": 0.5}],
    "label_smoothing": [{}, {"loss_epsilon": 0.3}],
    "confidence_penalty": [{}, {"loss_beta": 0.3}],
    "manifold": [{"loss_gamma": 0.5}, {"loss_radius": 0.3}],
    "tgtss": [{}, {"loss_tau": 4.0}, {"loss_teacher_seed": 3}, {"loss_teacher_from": 2}],
}


@pytest.mark.parametrize("loss", LOSSES)
def test_every_training_loss_with_weights_of_their_own_on_classes_and_on_numbers(loss: str) -> None:
    own = [{"loss": loss, **more} for more in LOSSES[loss]]
    check_pack(DIGITS, DATA, [{**PLAIN, **more, "dropout": 0.2} for more in own])
    target, network = NETWORKS["small, sigmoid, dropout"]
    workload = Calorimeter(target=target, n_train=100, n_pool=200, n_validation=50, n_test=50, epochs=2)
    check_pack(workload, workload.prepare(), [{**PLAIN, **network, **more} for more in own], seeds=[1])


def test_every_loss_of_the_room_can_train_packs() -> None:
    assert {*LOSSES, "cross_entropy", "rmse", "relative_rmse"} == set(registry.names("losses"))
    assert all(hasattr(registry.plugin("losses", name), "of_members") for name in registry.names("losses"))


@pytest.mark.parametrize(
    "settings",
    [
        {"score": "best"},
        {"score": "mean_last_2"},
        {"patience": 1, "epochs": 10},
        {"loss": "error"},
        {"vary": "weights"},
        {"vary": "sample"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_scores_patience_and_sources_of_randomness(settings: dict[str, Any]) -> None:
    workload = Digits(**{"epochs": 4, "n_train": 300, **settings})
    results = check_pack(workload, DATA, [{**PLAIN, "lr": lr} for lr in (0.01, 0.1)], seeds=range(3))
    if "patience" in settings:
        assert len({len(result.curve) for result in results}) > 1, "they should leave the pack at different times"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_calorimeters_networks(name: str) -> None:
    target, network = NETWORKS[name]
    workload = Calorimeter(target=target, n_train=100, n_pool=200, n_validation=50, n_test=50, epochs=2)
    check_pack(workload, workload.prepare(), [{**PLAIN, **network, "lr": lr} for lr in (0.003, 0.001)])


def test_the_width_of_a_pack_and_the_place_in_it_do_not_matter() -> None:
    parameters = [{**PLAIN, "lr": lr, "dropout": dropout} for lr, dropout in ((0.01, 0.2), (0.003, 0.0), (0.02, 0.4))]
    members = members_of(parameters, range(11))
    whole = dict(DIGITS.train_pack(members, quiet, DATA))
    assert_same(whole[0], DIGITS.train(members[0][0], [0], quiet, DATA)[0])
    for chosen in ([0], [32], [5, 17], [30, 2, 21, 0, 11, 12, 8, 32]):
        some = dict(DIGITS.train_pack([members[number] for number in chosen], quiet, DATA))
        for place, number in enumerate(chosen):
            assert_same(some[place], whole[number])
            assert some[place].metrics == whole[number].metrics


def test_a_neighbour_that_diverges_harms_nobody_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []
    form = Pack._form
    monkeypatch.setattr(Pack, "_form", lambda pack, members: (widths.append(len(members)), form(pack, members))[1])
    for more in ({"optimizer": "SGD"}, {"optimizer": "SGD", "clip_norm": 1.0}, {"loss": "clf", "optimizer": "SGD"}):
        rates = [0.03, 1e30, 0.1]
        results = check_pack(DIGITS, DATA, [{**PLAIN, **more, "lr": lr} for lr in rates], seeds=[1])
        statuses = [result.status for result in results]
        if "clip_norm" not in more:
            assert statuses == [Status.COMPLETE, Status.DIVERGED, Status.COMPLETE]
    assert widths[:2] == [3, 2]


def test_torchs_own_generator_and_threads_are_left_alone() -> None:
    torch.manual_seed(1)
    before, threads = torch.random.get_rng_state(), torch.get_num_threads()
    for _ in DIGITS.train_pack(members_of([{**PLAIN, "dropout": 0.2}], [1, 2]), quiet, DATA):
        assert torch.random.get_rng_state().equal(before)
        assert torch.get_num_threads() == threads
    assert torch.random.get_rng_state().equal(before)
