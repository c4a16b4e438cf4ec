"""Trains several instances in one process: together where their networks allow it, else one after the other."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from raysearch.records import InstanceResult
from raysearch.training import distillation
from raysearch.training import loop as alone
from raysearch.training.device import choose_device, seeded
from raysearch.training.job import Common, Job
from raysearch.training.packs.loop import Pack
from raysearch.training.packs.members import Member, sorted_for_packs
from raysearch.training.packs.rehearsal import rehearse
from raysearch.training.packs.stack import CannotPack
from raysearch.training.packs.turns import drawing_from

_log = logging.getLogger(__name__)

Report = Callable[[int, int, float], bool | None]
"""`report(member, epoch, loss)`, epoch from 1; False ends that member, raising ends all. May have `checkpoints`."""


class _Ended(BaseException):
    """Ends a lone training that stands for a member."""


def instances(jobs: Sequence[Job], common: Common, report: Report) -> Iterator[tuple[int, InstanceResult]]:
    """Train the jobs and yield each one's number and result as soon as it has ended; those ended by `report` have none.

    The results are those of loop.instance, weights and losses bit by bit on a CPU, but for `seconds`, a member's share
    of the pack's time, and the last digits of `train_loss`. Members that go on from checkpoints of different epochs
    train in packs of the same epoch.
    """
    placed = dataclasses.replace(common, sets=common.sets.to(choose_device(common.settings.device)))
    try:
        _check(jobs, placed)
        members = _members(jobs, placed)
        with _at_work(placed):
            rehearse(members, placed)
    except CannotPack as reason:
        level = logging.WARNING if reason.__cause__ else logging.INFO
        _log.log(level, "%d instances train one by one: %s", len(jobs), reason)
        yield from _one_by_one(jobs, common, report)
        return
    _hear_teachers(members, placed)
    heard = [member for member in members if _restored(member, common, report)]
    for epoch in sorted({member.epoch for member in heard}):
        pack = Pack(sorted_for_packs([member for member in heard if member.epoch == epoch]), placed)
        for member in pack.run(lambda one: report(one.number, one.epoch, one.trained.curve[-1]) is not False):
            yield member.number, _result(member, placed)


def _check(jobs: Sequence[Job], common: Common) -> None:
    """Raise CannotPack for instances whose recipes or settings no pack can have."""
    keys = {job.recipe.pack_key for job in jobs}
    if len(keys) != 1 or None in keys:
        raise CannotPack("recipes that do not fit together")
    if common.settings.n_threads > 1 and common.sets.train[0].device.type == "cpu":
        raise CannotPack("several threads, which share out the work of a pack in another way")


def _members(jobs: Sequence[Job], common: Common) -> list[Member]:
    device, n_scored = common.sets.train[0].device, common.settings.n_scored
    return [Member.of(number, job, job.seed, n_scored, device) for number, job in enumerate(jobs)]


def _hear_teachers(members: Sequence[Member], common: Common) -> None:
    """Give each member what its teacher says, where its training loss asks for one; the teachers are a pack too."""
    losses: list[Any] = [alone.training_loss(member.job.recipe) for member in members]
    if not hasattr(losses[0], "soften"):
        return
    own = dataclasses.replace(common, settings=alone.teacher_settings(losses[0], common.settings), score=None)
    teachers = []
    for member, loss in zip(members, losses, strict=True):
        job = dataclasses.replace(member.job, recipe=distillation.teachers_recipe(member.job.recipe))
        seed = distillation.teacher_seed(loss, member.job.seed)
        teachers.append(Member.of(member.number, job, seed, own.settings.n_scored, common.sets.train[0].device))
    heard = [distillation.Heard(distillation.first_heard(loss, own.settings.epochs)) for loss in losses]

    def listen(teacher: Member) -> bool:
        with _at_work(common):
            said = losses[teacher.number].soften(alone.outputs(teacher.module, common.taught(teacher.job)[0]))
        heard[teacher.number].add(said)
        return True

    for teacher in Pack(sorted_for_packs(teachers), own).run(listen):
        members[teacher.number].soft = heard[teacher.number].mean
        members[teacher.number].seconds += teacher.seconds


def _restored(member: Member, common: Common, report: Report) -> bool:
    """Bring a member to the state of its checkpoint, if it has one, and return whether it goes on."""
    job, goes_on = member.job, True
    if getattr(report, "checkpoints", None) is None:
        return True
    member.kept = alone.kept_state(job, common, report, member.module, common.own(job))
    if member.kept is None:
        return True

    def replay(epoch: int, loss: float) -> None:
        nonlocal goes_on
        goes_on = goes_on and report(member.number, epoch, loss) is not False

    loop = member.alone(common.settings.epochs)
    with drawing_from(member.drawn):
        n_epochs = member.kept.restore(loop, replay)
    if n_epochs:
        member.started = {"optimizer": loop.optimizer, "average": loop.averaging.state()}
    return goes_on


def _result(member: Member, common: Common) -> InstanceResult:
    since = time.perf_counter() - member.seconds
    with _at_work(common):
        found = alone.result(member.job, common, member.trained, common.own(member.job), since)
    if member.kept:
        member.kept.drop()
    return found


def _at_work(common: Common) -> AbstractContextManager[None]:
    """Return the context of all that is computed: torch's threads and kernels as in a lone training."""
    return seeded(0, common.settings.n_threads, common.sets.train[0].device)


def _one_by_one(jobs: Sequence[Job], common: Common, report: Report) -> Iterator[tuple[int, InstanceResult]]:
    for number, job in enumerate(jobs):
        try:
            yield number, alone.instance(job, common, _Alone(number, report))
        except _Ended:
            continue


class _Alone:
    """The report of a lone instance that stands for a member."""

    def __init__(self, number: int, report: Report) -> None:
        self._number, self._report = number, report
        self.checkpoints = getattr(report, "checkpoints", None)

    def __call__(self, epoch: int, loss: float) -> None:
        if self._report(self._number, epoch, loss) is False:
            raise _Ended
