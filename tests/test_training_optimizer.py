"""The loop takes torch's fast optimizers and few gathers, and gives the losses of the plain ones."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from raysearch import registry
from raysearch.records import Configuration, InstanceResult
from raysearch.training import optimizer as training_optimizer
from raysearch.training.recipe import Optimizer, Recipe

BOUND = 1e-5
"""Greatest relative difference of any epoch's loss from that of torch's loop over parameters; measured up to 2e-7."""
JOBS = {
    "digits": ({"epochs": 5, "n_train": 400}, {"conv": [4], "hidden": [16]}),
    "calorimeter": (
        {"epochs": 3, "n_train": 400, "n_validation": 200, "n_test": 100},
        {"conv1": 4, "conv2": 8, "fc": [9], "feature": True, "pool2": [2, 1]},
    ),
}


def plain(module: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the optimizer in the form that updates one parameter after the other, operation by operation."""
    arguments = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "foreach": False}
    if recipe.momentum:
        arguments["momentum"] = recipe.momentum
    found: torch.optim.Optimizer = getattr(torch.optim, recipe.optimizer)(module.parameters(), **arguments)
    return found


def train(job: str, optimizer: str, momentum: float) -> list[InstanceResult]:
    settings, network = JOBS[job]
    workload = registry.load("workloads", job, **settings)
    recipe = {"optimizer": optimizer, "lr": 0.01, "batch_size": 32, "weight_decay": 0.01, "momentum": momentum}
    found: list[InstanceResult] = workload.train(
        Configuration.of({**network, **recipe}), [1, 2], lambda *_: None, workload.prepare()
    )
    return found


@pytest.mark.parametrize("job", JOBS)
@pytest.mark.parametrize(
    ("optimizer", "momentum"), [*((name, 0.0) for name in get_args(Optimizer)), ("SGD", 0.9), ("RMSprop", 0.9)]
)
def test_the_losses_are_those_of_the_plain_optimizer_to_within_rounding(
    job: str, optimizer: str, momentum: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    fast = train(job, optimizer, momentum)
    monkeypatch.setattr(training_optimizer, "optimizer", plain)
    slow = train(job, optimizer, momentum)
    for one, other in zip(fast, slow, strict=True):
        assert one.curve[-1] != one.curve[0]
        np.testing.assert_allclose(one.curve, other.curve, rtol=BOUND)
        np.testing.assert_allclose(one.test_loss, other.test_loss, rtol=BOUND)


@pytest.mark.parametrize("name", get_args(Optimizer))
def test_the_fastest_form_that_torch_has_is_taken(name: str) -> None:
    module = nn.Linear(2, 2)
    (group,) = training_optimizer.optimizer(module, Recipe(name, 0.1, 1)).param_groups
    has_fused = "fused" in group
    assert group["fused" if has_fused else "foreach"] is True
    assert has_fused == (name in training_optimizer.FUSED), "torch has another fused optimizer now: name it there"


def test_an_epoch_gives_each_example_once_with_its_own_target_and_row() -> None:
    n, size = 700, 3  # more than one stretch, and a last batch of one
    inputs, targets = torch.arange(n) * 10, torch.arange(n) * 100
    found = list(training_optimizer.batches(inputs, targets, torch.Generator().manual_seed(0), size))
    assert [len(rows) for rows, _, _ in found] == [3] * 233 + [1]
    rows, seen, wanted = (torch.cat(column) for column in zip(*found, strict=True))
    assert rows.equal(torch.randperm(n, generator=torch.Generator().manual_seed(0)))
    assert seen.equal(rows * 10)
    assert wanted.equal(rows * 100)
