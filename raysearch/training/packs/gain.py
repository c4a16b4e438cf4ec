"""What a pack gains: a step of one network alone, timed against one of many, before anything trains that counts."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence

import torch

from raysearch.records import PackGain
from raysearch.training import loop
from raysearch.training.device import choose_device, seeded
from raysearch.training.job import Common, Job
from raysearch.training.packs.loop import Pack
from raysearch.training.packs.members import Member
from raysearch.training.packs.rehearsal import rehearse
from raysearch.training.packs.stack import CannotPack

WIDTHS = {"cpu": (8, 64), "cuda": (8, 64, 512)}
"""The packs that are tried, the narrowest first: a wider one only where that one pays."""
LEAST_GAIN = 2.0
"""So many times cheaper must an instance's step be: a pack brings its results, and hears that it should end, late."""
_HOPEFUL_GAIN, _WORTH_WIDENING = 1.5, 0.9
_LONGEST_S = {"cpu": 0.003, "cuda": math.inf}
"""Longer steps are arithmetic, not overhead, and no pack is tried: on a processor it would cost seconds to see that."""
_N_STEPS, _N_EPOCHS = 4, 4


def measure(job_of: Callable[[int], Job], common: Common) -> PackGain:
    """Return how many instances of one architecture are worth a pack, 1 where they train best alone.

    `job_of(seed)` gives one of them; copies take a few steps on the first examples of their samples, by the task loss.
    Processor time on a CPU, so that other programs do not count; on a GPU wall time, and what does not fit is passed
    over. Neither torch's generators nor any instance notices.
    """
    device = choose_device(common.settings.device)
    placed = _short(dataclasses.replace(common, sets=common.sets.to(device)), job_of(0))
    alone_s = _alone(_lean(job_of(0), placed), placed, device)
    best = PackGain(1, alone_s, alone_s)
    if alone_s > _LONGEST_S[device.type]:
        return best
    for width in WIDTHS[device.type]:
        try:
            packed_s = _packed([_lean(job_of(seed), placed) for seed in range(width)], placed, device)
        except (CannotPack, torch.OutOfMemoryError):
            break
        if alone_s < _HOPEFUL_GAIN * packed_s or packed_s > _WORTH_WIDENING * best.packed_s:
            break
        best = PackGain(width, alone_s, packed_s)
    return best if alone_s >= LEAST_GAIN * best.packed_s else PackGain(1, alone_s, alone_s)


def _short(common: Common, job: Job) -> Common:
    """Return the same with few examples to be judged by, and few epochs."""
    n = job.recipe.batch_size
    sets = common.sets
    pair = sets.validation[0][:n], sets.validation[1][:n]
    settings = dataclasses.replace(common.settings, epochs=_N_EPOCHS, patience=None, score="last")
    return dataclasses.replace(common, sets=dataclasses.replace(sets, validation=pair, test=None), settings=settings)


def _lean(job: Job, common: Common) -> Job:
    """Return the job with so few examples that an epoch is a few steps, and the task loss."""
    recipe = dataclasses.replace(job.recipe, loss=None, loss_parameters={})
    return dataclasses.replace(job, rows=common.rows(job)[: _N_STEPS * recipe.batch_size], recipe=recipe)


def _n_steps(job: Job, common: Common) -> int:
    return -(-len(common.rows(job)) // job.recipe.batch_size)


def _alone(job: Job, common: Common, device: torch.device) -> float:
    """Return the seconds of a lone step."""
    times = [_now(device)]
    with seeded(job.seed, common.settings.n_threads, device):
        module = job.build().to(device)
        loop.fit(module, common.own(job), job, common, lambda *_: times.append(_now(device)))
    return _shortest(times) / _n_steps(job, common)


def _packed(jobs: Sequence[Job], common: Common, device: torch.device) -> float:
    """Return the seconds of a step of a pack, for each of its members; raises CannotPack."""
    members = [Member.of(number, job, job.seed, common.settings.n_scored, device) for number, job in enumerate(jobs)]
    times: list[float] = []

    def heard(member: Member) -> bool:
        if member.number == 0:
            times.append(_now(device))
        return True

    with seeded(0, common.settings.n_threads, device):
        rehearse(members, common)
        for _ in Pack(members, common).run(heard):
            pass
    return _shortest(times) / _n_steps(jobs[0], common) / len(jobs)


def _shortest(times: Iterable[float]) -> float:
    """Return the shortest time between two epochs; the first one warms up."""
    at = list(times)[-_N_EPOCHS:]
    return max(min(after - before for before, after in itertools.pairwise(at)), 1e-9)


def _now(device: torch.device) -> float:
    if device.type == "cpu":
        return time.thread_time()  # one thread trains: `_packs.key` sees to it
    torch.cuda.synchronize(device)
    return time.perf_counter()
