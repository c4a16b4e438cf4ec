"""Milliseconds per training step of one instance: the loop as it was, as it is, and what the core could do.

    OMP_NUM_THREADS=1 python benchmarks/step.py            (two minutes)
    OMP_NUM_THREADS=1 python benchmarks/step.py --parts    (where the time of a step goes)
    OMP_NUM_THREADS=1 python benchmarks/step.py --packs    (an instance's step alone and in packs; eight minutes)

Old and new loop train the same instances, in turn, each in a process of its own (how memory is kept is a process's
matter); every round also multiplies two matrices, `(1024, 1024)` floats, for the core's own rate. Times are CPU seconds
of one thread, medians over the rounds, the ratio that of the rounds' ratios. The arithmetic of a step, forward and
backward, is counted by torch's FlopCounterMode: convolutions and matrix products, nothing else.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import _step_packs
import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from raysearch import registry
from raysearch.records import InstanceKey
from raysearch.training import device as training_device
from raysearch.training import job as training_job
from raysearch.training import loop as training
from raysearch.training.job import Sets, Settings
from raysearch.training.losses import Step
from raysearch.training.recipe import Recipe
from raysearch.workloads import _instruments
from raysearch.workloads._calorimeter.architecture import Architecture
from raysearch.workloads._calorimeter.networks import Network

N_EXAMPLES, EPOCHS = {"digits": 800, "energy": 640, "position": 640}, {"digits": 12, "energy": 8, "position": 8}
N_SIDE = 1024
Run = tuple[float, float, list[float]]
_WIDE, _FLAT = {"conv1": 32, "conv2": 64}, {"conv1": 32, "conv2": 16, "pool2": [4, 4]}


@dataclass(frozen=True)
class Job:
    """One network and how it is trained; `digits`, or the calorimeter's `energy` or `position`."""

    label: str
    data: str
    network: dict[str, Any]
    optimizer: str = "AdamW"
    batch_size: int = 32


JOBS = (
    Job("digits, perceptron 64-32-32-10", "digits", {"hidden": [32, 32]}),
    Job("digits, convolutions 16-32", "digits", {"conv": [16, 32], "hidden": [32]}),
    Job("Model 1", "energy", {**_WIDE, "pool2": [2, 1], "fc": [9]}, "NAdam", 64),
    Job("Model 2", "energy", {**_WIDE, "pool2": [2, 1], "fc": [9], "feature": True}),
    Job("Model 2", "energy", {**_WIDE, "pool2": [2, 1], "fc": [9], "feature": True}, batch_size=64),
    Job("Model 3", "position", {**_WIDE, "pool2": [4, 4], "fc": [64, 9], "activation": "PReLU"}),
    Job("Model 4", "position", {**_WIDE, "pool2": [4, 4], "fc": [64, 9], "activation": "PReLU", "feature": True}),
    Job("NAS 1", "energy", {**_FLAT, "fc": [32, 9], "feature": True}),
    Job("NAS 2", "energy", {**_FLAT, "fc": [128, 64, 9], "feature": True}),
)


def parts(job: Job) -> tuple[Callable[[], nn.Module], Sets, Any, Recipe]:
    """Return a job's network to be, its examples, its task loss and its recipe."""
    n = N_EXAMPLES[job.data]
    recipe = Recipe(job.optimizer, 0.001, job.batch_size, weight_decay=0.01)
    if job.data == "digits":
        workload = registry.load("workloads", "digits", n_train=n, n_validation=64)
        sets = _instruments.sets(workload.prepare(), "images", "labels", np.arange(n))
        return lambda: workload.network(job.network), sets, registry.load("losses", "cross_entropy"), recipe
    workload = registry.load(
        "workloads", "calorimeter", target=job.data, n_train=n, n_pool=n, n_validation=64, n_test=1
    )
    sets = _instruments.sets(workload.prepare(), "cells", "targets", np.arange(n))
    task = registry.load("losses", "relative_rmse" if job.data == "energy" else "rmse")
    return lambda: Network(Architecture.of(job.network), job.data), sets, task, recipe


def old_cross_entropy(outputs: torch.Tensor, targets: torch.Tensor, step: object = None) -> torch.Tensor:
    """The loss of a classification as it was written before."""
    return -outputs.log_softmax(dim=1).gather(1, targets[:, None]).mean()


def old_fit(module: nn.Module, sets: Sets, task: Any, recipe: Recipe, epochs: int, seed: int) -> list[float]:
    """The loop as it was: a gather, a second task loss and an update of each parameter in every step."""
    task = old_cross_entropy if sets.train[1].dtype == torch.long else task
    slow = {"lr": recipe.lr, "weight_decay": recipe.weight_decay, "foreach": False}
    optimizer = getattr(torch.optim, recipe.optimizer)(module.parameters(), **slow)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)
    order, (inputs, targets) = torch.Generator().manual_seed(seed), sets.train
    step = Step(module, inputs[:0], torch.empty(0, dtype=torch.long), task, order)
    curve = []
    for _ in range(epochs):
        module.train()
        total = torch.zeros(())
        for batch in torch.split(torch.randperm(len(inputs), generator=order), recipe.batch_size):
            step.index, step.inputs = batch, inputs[batch]
            predicted, wanted = module(step.inputs), targets[batch]
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(task(predicted, wanted, step))
            optimizer.step()
            total += task(predicted.detach(), wanted) * len(batch)
        scheduler.step()
        curve.append(float(task(training.outputs(module, sets.validation[0]), sets.validation[1])))
    return curve


def new_fit(module: nn.Module, sets: Sets, task: Any, recipe: Recipe, epochs: int, seed: int) -> list[float]:
    """The loop as it is."""
    settings = Settings(epochs, device="cpu")
    with training_device.seeded(seed, 1, torch.device("cpu")):
        own = training_job.Job(InstanceKey("c", seed), lambda: module, recipe, seed, None)
        return training.fit(module, sets, own, training_job.Common(sets, task, settings), lambda *_: None).curve


def measure(job: Job, new: bool, seed: int) -> Run:
    """Return seconds per step, the matrix product's FLOP/s and the losses by epoch; a job's first call warms up."""
    torch.set_num_threads(1)
    build, sets, task, recipe = parts(job)
    torch.manual_seed(seed)
    module, epochs = build(), EPOCHS[job.data]
    start = time.process_time()
    curve = (new_fit if new else old_fit)(module, sets, task, recipe, epochs, seed)
    seconds = (time.process_time() - start) / epochs / -(-len(sets.train[0]) // job.batch_size)
    one, other = torch.rand(N_SIDE, N_SIDE), torch.rand(N_SIDE, N_SIDE)
    torch.mm(one, other)
    start = time.process_time()
    for _ in range(4):
        torch.mm(one, other)
    return seconds, 8 * N_SIDE**3 / (time.process_time() - start), curve


def flop(job: Job) -> int:
    """Return the operations of one step, forward and backward, in convolutions and matrix products."""
    build, sets, task, _ = parts(job)
    module, inputs, targets = build(), sets.train[0][: job.batch_size], sets.train[1][: job.batch_size]
    with FlopCounterMode(display=False) as counter:
        task(module(inputs), targets).backward()
    return int(counter.get_total_flops())


def row(job: Job, loops: dict[bool, ProcessPoolExecutor], rounds: int) -> str:
    """Measure one job and return its line of the table."""
    found: dict[bool, list[Run]] = {False: [], True: []}
    for seed in range(rounds + 1):
        for new, process in loops.items():
            found[new].append(process.submit(measure, job, new, seed).result())
    old, new = ([seconds for seconds, _, _ in found[which][1:]] for which in (False, True))
    product = statistics.median(rate for runs in found.values() for _, rate, _ in runs)
    pairs = [(np.asarray(one[2]), np.asarray(other[2])) for one, other in zip(*found.values(), strict=True)]
    apart = np.max([np.abs(one / other - 1) for one, other in pairs], axis=0)
    ms = [1e3 * statistics.median(times) for times in (old, new)]
    gain = statistics.median(one / other for one, other in zip(old, new, strict=True))
    n = flop(job)
    rates = [n / 1e6 / value for value in ms]
    shares = [1e9 * rate / product for rate in rates]
    return (
        f"| {job.label} | {job.batch_size}, {job.optimizer} | {n / 1e6:.1f} | {ms[0]:.3f} | {ms[1]:.3f} "
        f"| {gain:.2f} | {rates[1]:.1f} | {product / 1e9:.0f} | {shares[0]:.0%} | {shares[1]:.0%} "
        f"| {apart[0]:.0e}, {apart[-1]:.0e} |"
    )


GROUPS = {
    "convolutions": ("conv", "mkldnn"),
    "pooling": ("max_pool",),
    "matrix products": ("mm", "matmul"),
    "optimizer": ("_fused_", "_foreach_"),
}


def kernels(job: Job) -> str:
    """Return the line that tells which kernels a step of the new loop spends its time in."""
    torch.set_num_threads(1)
    build, sets, task, recipe = parts(job)
    module, spent = build(), dict.fromkeys([*GROUPS, "other kernels"], 0.0)
    new_fit(module, sets, task, recipe, EPOCHS[job.data], 0)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        new_fit(module, sets, task, recipe, EPOCHS[job.data], 1)
    events = profile.key_averages()
    for event in events:
        known = (group for group, words in GROUPS.items() if any(word in event.key for word in words))
        spent[next(known, "other kernels")] += event.self_cpu_time_total
    total = sum(spent.values())
    return f"| {job.label} | {job.batch_size} | " + " | ".join(f"{t / total:.0%}" for t in spent.values()) + " |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="measured rounds of each job (one more warms up)")
    parser.add_argument("--parts", action="store_true", help="print where the time of a step goes instead")
    parser.add_argument("--packs", action="store_true", help="print what a step costs in packs instead")
    arguments = parser.parse_args()
    if arguments.packs:
        torch.set_num_threads(1)
        for line in _step_packs.lines(JOBS, parts, arguments.rounds):
            print(line, flush=True)
        return
    if arguments.parts:
        print(
            "| network | batch | "
            + " | ".join([*GROUPS, "other kernels, autograd"])
            + " |\n|---|---|---|---|---|---|---|"
        )
        print(*map(kernels, JOBS), sep="\n")
        return
    print(
        "| network | batch, optimizer | MFLOP | old, ms | new, ms | old over new | GFLOP/s | matrix product "
        "| old, share | new, share | losses apart: epoch 1, last |\n|---|---|---|---|---|---|---|---|---|---|---|"
    )
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as old, ProcessPoolExecutor(1, context) as new:
        for job in JOBS:
            print(row(job, {False: old, True: new}, arguments.rounds), flush=True)


if __name__ == "__main__":
    main()
