"""Milliseconds per instance and training step in packs of several widths, beside the lone loop."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

from raysearch.records import InstanceKey
from raysearch.training import device as training_device
from raysearch.training import loop as training
from raysearch.training.job import Common, Job, Sets, Settings
from raysearch.training.packs.loop import Pack
from raysearch.training.packs.members import Member, sorted_for_packs
from raysearch.training.recipe import Recipe

WIDTHS = (1, 8, 16, 32, 64)
EPOCHS = {"digits": 8, "energy": 1, "position": 1}
Parts = tuple[Callable[[], nn.Module], Sets, Any, Recipe]


def alone(parts: Parts, epochs: int, seed: int) -> tuple[float, list[float]]:
    """Return the CPU seconds of one lone training, and its losses."""
    build, sets, task, recipe = parts
    settings, cpu = Settings(epochs, device="cpu"), torch.device("cpu")
    with training_device.seeded(seed, 1, cpu):
        module = build()
        start = time.process_time()
        job = Job(InstanceKey("c", seed), build, recipe, seed, None)
        trained = training.fit(module, sets, job, Common(sets, task, settings), lambda *_: None)
        return time.process_time() - start, trained.curve


def packed(parts: Parts, epochs: int, seed: int, width: int, spread: float = 0.0) -> tuple[float, list[float]]:
    """Return the CPU seconds per instance of a pack, and the losses of its first member, which is the lone instance.

    With a `spread` each member has a learning rate of its own, which costs a step of the optimizer for each.
    """
    build, sets, task, recipe = parts
    common, cpu = Common(sets, task, Settings(epochs, device="cpu")), torch.device("cpu")
    members = []
    for number in range(width):
        own = dataclasses.replace(recipe, lr=recipe.lr * (1.0 + spread * number))
        job = Job(InstanceKey("c", number), build, own, seed + number, None)
        members.append(Member.of(number, job, seed + number, common.settings.n_scored, cpu))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    start = time.process_time()
    ended = {member.number: member for member in Pack(sorted_for_packs(members), common).run(lambda member: True)}
    seconds = time.process_time() - start
    torch.set_num_threads(threads)
    return seconds / width, ended[0].trained.curve


def ways(parts: Parts, epochs: int) -> list[Callable[[int], tuple[float, list[float]]]]:
    """Return the ways of training the instance of a seed: alone, in packs, and in one of different learning rates."""
    found: list[Callable[[int], tuple[float, list[float]]]] = [partial(alone, parts, epochs)]
    found += [partial(packed, parts, epochs, width=width) for width in WIDTHS]
    return [*found, partial(packed, parts, epochs, width=WIDTHS[-1], spread=0.01)]


def lines(jobs: Any, parts_of: Callable[[Any], Parts], rounds: int) -> Iterator[str]:
    """Yield the table, line by line, as it is measured."""
    widths = " | ".join(f"pack of {width}" for width in WIDTHS)
    last = f"{WIDTHS[-1]} learning rates"
    yield f"| network | batch, optimizer | alone | {widths} | {last} | best over alone | same losses |"
    yield "|---|---|---|" + "---|" * (len(WIDTHS) + 3)
    for job in jobs:
        parts, epochs = parts_of(job), EPOCHS[job.data]
        n_steps = epochs * -(-len(parts[1].train[0]) // job.batch_size)
        found: list[list[float]] = [[] for _ in ways(parts, epochs)]
        same = True
        for seed in range(rounds + 1):
            curves = []
            for times, way in zip(found, ways(parts, epochs), strict=True):
                seconds, curve = way(seed)
                curves.append(curve)
                times += [1e3 * seconds / n_steps] if seed else []  # the first round warms up
            same = same and all(curve == curves[0] for curve in curves)
        ms = [statistics.median(times) for times in found]
        yield (
            f"| {job.label} | {job.batch_size}, {job.optimizer} | "
            + " | ".join(f"{value:.3f}" for value in ms)
            + f" | {ms[0] / min(ms[1:-1]):.1f} | {'yes, bit by bit' if same else 'no'} |"
        )
