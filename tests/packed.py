"""Instances trained in a pack, compared bit by bit with the same instances trained alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from raysearch.records import Configuration, InstanceKey, InstanceResult
from raysearch.training import loop
from raysearch.training.job import Common, Job, Sets, Settings
from raysearch.training.losses.cross_entropy import CrossEntropy
from raysearch.training.packs.instances import instances
from raysearch.training.recipe import Recipe

Report = Callable[[int, int, float], Any]


def quiet(*_: Any) -> None:
    pass


def members_of(parameters: Sequence[dict[str, Any]], seeds: Sequence[int]) -> list[tuple[Configuration, int]]:
    return [(Configuration.of(own), seed) for own in parameters for seed in seeds]


def check_pack(
    workload: Any,
    data: Any,
    parameters: Sequence[dict[str, Any]],
    seeds: Sequence[int] = (1, 2),
    report: Report = quiet,
) -> list[InstanceResult]:
    """Train seeds of configurations in one pack, hold each result against the lone one, and return them."""
    keys = {workload.pack_key(own) for own in parameters}
    assert len(keys) == 1
    assert None not in keys
    members = members_of(parameters, seeds)
    found = dict(workload.train_pack(members, report, data))
    assert sorted(found) == list(range(len(members)))
    for number, (configuration, seed) in enumerate(members):
        assert_same(found[number], workload.train(configuration, [seed], quiet, data)[0])
    return [found[number] for number in range(len(members))]


def assert_same(one: InstanceResult, other: InstanceResult) -> None:
    """Hold two results of one instance against each other; a diverged one's weights say nothing."""
    assert one.key == other.key
    assert one.status is other.status
    assert one.loss == other.loss
    assert one.test_loss == other.test_loss
    np.testing.assert_array_equal(one.curve, other.curve)
    if np.isfinite(one.loss):
        assert one.weights == other.weights
    metrics, others = dict(one.metrics), dict(other.metrics)
    # a pack sums the terms of a batch's cross entropy in another order than torch; nothing else depends on that number
    assert metrics.pop("train_loss", 0.0) == pytest.approx(others.pop("train_loss", 0.0), rel=1e-6)
    assert metrics == others


def sets_of(n: int = 96, n_features: int = 6) -> Sets:
    """Return a small problem of two classes, its training set to serve as a pool."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(n + 64, n_features, generator=generator)
    labels = (inputs[:, 0] + 0.5 * inputs[:, 1] > 0).long()
    return Sets((inputs[:n], labels[:n]), (inputs[n:], labels[n:]), (inputs[n + 32 :], labels[n + 32 :]))


class Problem:
    """Networks of a test's own, trained in a pack and alone."""

    def __init__(self, build: Callable[[], nn.Module], sets: Sets | None = None, task: Any = None) -> None:
        self.build = build
        measure = loop.accuracies if task is None else None
        self.common = Common(sets or sets_of(), task or CrossEntropy(), Settings(3, device="cpu"), measure=measure)

    def jobs(self, recipes: Sequence[Recipe], seeds: Sequence[int] = (1, 2)) -> list[Job]:
        n = len(self.common.sets.train[0])
        made = []
        for number, recipe in enumerate(recipes):
            for seed in seeds:
                rows = torch.randperm(n, generator=torch.Generator().manual_seed(seed))[: n * 3 // 4]
                made.append(Job(InstanceKey(f"c{number}", seed), self.build, recipe, seed, "a test", rows))
        return made

    def alone(self, job: Job, report: Any = quiet) -> InstanceResult:
        return loop.instance(job, self.common, report)

    def check(self, recipes: Sequence[Recipe], report: Report = quiet) -> list[InstanceResult]:
        jobs = self.jobs(recipes)
        found = dict(instances(jobs, self.common, report))
        for number, job in enumerate(jobs):
            assert_same(found[number], self.alone(job))
        return [found[number] for number in range(len(jobs))]
