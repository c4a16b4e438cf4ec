"""Workload `function`: any model of the user, as a plain function, a generator of losses or a class Trainable."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
import tempfile
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysearch.errors import ExperimentError, WorkloadError
from raysearch.records import Configuration, InstanceKey, InstanceResult, PackGain
from raysearch.workloads import Report
from raysearch.workloads._imported import function, misfit
from raysearch.workloads._packs import PackReport

_WIDTH = 64


@dataclass(frozen=True)
class Function:
    """What `raysearch.search(train, ...)` runs.

    `train(config, seed)` returns a loss, or a mapping with `loss` and, if wanted, `test_loss` and other numbers; or it
    is a generator of per-epoch losses, whose last one counts; or a class with Tune's `setup` and `step` that reports
    `loss`. Lower is better. A function that never yields cannot be stopped before its end.

    `many(config, seeds)`, where there is one, trains several seeds of a configuration at once: it returns, or yields
    after each epoch, a list of what `train` gives for each of them, in order.

    A file names them by where they are imported from: `{name: function, fn: my_package.train}`.
    """

    fn: Any  # what it must be is said below, as `search` calls it
    many: Any = None

    def __post_init__(self) -> None:
        """Refuse what cannot be called, or imported where it is named."""
        _check("fn", self.fn, "train", "(config, seed)")
        if self.many is not None:
            _check("many", self.many, "train_many", "(config, seeds)")

    def prepare(self) -> None:
        """Return nothing: a function brings its own data."""

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Accept every parameter: the function knows its own."""

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Call the function once per seed; raises WorkloadError where it returns no number."""
        return [self._train_one(configuration, seed, report) for seed in seeds]

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return what tells configurations apart: only seeds of one train together, and only by `many`."""
        return None if self.many is None else Configuration.of(parameters).id

    def measure_pack(self, configuration: Configuration, data: Any) -> PackGain:
        """Return the width of packs under `pack: auto`: who brings `many` says that it pays."""
        return PackGain(_WIDTH)

    def train_pack(
        self, members: Sequence[tuple[Configuration, int]], report: PackReport, data: Any
    ) -> Iterator[tuple[int, InstanceResult]]:
        """Call `many` and yield its answers; raises WorkloadError where it has not one for each seed."""
        start, configuration, seeds = time.perf_counter(), members[0][0], [seed for _, seed in members]
        found: Any = function("function: many", self.many)(copy.deepcopy(dict(configuration.parameters)), seeds)
        curves: dict[int, list[float]] = {number: [] for number in range(len(seeds))}
        ended: set[int] = set()
        last: dict[int, Any] = {}
        epochs = enumerate(found, start=1) if isinstance(found, Iterator) else [(0, found)]
        for epoch, answers in epochs:
            for number, answer in self._each(answers, seeds):
                if number in ended:
                    continue
                last[number] = answer
                if epoch:
                    curves[number].append(self._numbers(answer)["loss"])
                    if report(number, epoch, curves[number][-1]) is False:
                        ended.add(number)
                        del last[number]
                    elif not math.isfinite(curves[number][-1]):
                        ended.add(number)
            if len(ended) == len(seeds):
                break
        if not last and not ended:
            raise WorkloadError(f"{_name(self.many)} yielded no losses")
        seconds = (time.perf_counter() - start) / len(seeds)
        for number, answer in last.items():
            yield number, self._result(members[number][0], seeds[number], answer, curves[number], seconds)

    def _each(self, answers: Any, seeds: Sequence[int]) -> Iterator[tuple[int, Any]]:
        try:
            listed = list(answers)
        except TypeError:
            listed = []
        if len(listed) != len(seeds) or isinstance(answers, str | Mapping):
            wanted = f"a list of {len(seeds)} answers, one for each seed"
            raise WorkloadError(f"{_name(self.many)} must give {wanted}; it gave {answers!r:.200}")
        return iter(enumerate(listed))

    def _train_one(self, configuration: Configuration, seed: int, report: Report) -> InstanceResult:
        start = time.perf_counter()
        answer = self._call(copy.deepcopy(dict(configuration.parameters)), seed)  # a function may change its own
        curve: list[float] = []
        if isinstance(answer, Iterator):
            for epoch, value in enumerate(answer, start=1):
                answer = value
                curve.append(self._numbers(value)["loss"])
                report(epoch, curve[-1])
                if not math.isfinite(curve[-1]):
                    break
            if not curve:
                raise WorkloadError(f"{_name(self.fn)} yielded no loss")
        return self._result(configuration, seed, answer, curve, time.perf_counter() - start)

    def _result(
        self, configuration: Configuration, seed: int, answer: Any, curve: Sequence[float], seconds: float
    ) -> InstanceResult:
        values = self._numbers(answer)
        loss, test_loss = values.pop("loss"), values.pop("test_loss", None)
        key = InstanceKey(configuration.id, seed)
        return InstanceResult.of(key, loss, curve=tuple(curve), test_loss=test_loss, metrics=values, seconds=seconds)

    def _call(self, config: dict[str, Any], seed: int) -> Any:
        call = function("function: fn", self.fn)  # imported anew: a named one is not sent, it is there
        if inspect.isclass(call) and hasattr(call, "step"):
            return _steps(call, {**config, "seed": seed})
        return call(config, seed)

    def _numbers(self, answer: Any) -> dict[str, float]:
        """Return `loss`, and whatever other numbers a mapping holds, as plain floats."""
        mapping = answer if isinstance(answer, Mapping) else {"loss": answer}
        values = {name: _number(value) for name, value in mapping.items()}
        if values.get("loss") is None:
            what = f"a mapping without a number under 'loss': {answer!r}" if mapping is answer else f"{answer!r}"
            raise WorkloadError(f"{_name(self.fn)} must give a loss (a number, lower is better); it gave {what:.200}")
        return {name: value for name, value in values.items() if value is not None}


def _check(key: str, given: Any, name: str, wanted: str) -> None:
    """Raise ExperimentError for what is no function of two arguments, and for one that has to be awaited."""
    if not callable(given) and not _is_path(given):
        raise ExperimentError(f"{name} must be a function of {wanted}, got {given!r}")
    fn = function(f"function: {key}", given)
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise ExperimentError(
            f"{name} must be a plain function of {wanted}, {_name(fn)} is `async`: call `asyncio.run`"
        )
    if (found := misfit(fn)) is not None:
        signature, why = found
        raise ExperimentError(f"{name} must be a function of {wanted}, got {_name(fn)}{signature}: {why}") from why


def _is_path(given: Any) -> bool:
    return isinstance(given, str) and "." in given.strip(".")


def _name(called: Any) -> str:
    return str(getattr(called, "__name__", called))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, numbers.Real):
        return float(value)
    item = getattr(value, "item", None)  # numpy and torch scalars
    if callable(item) and getattr(value, "ndim", None) == 0:
        return float(item())
    return None


def _steps(cls: Any, config: dict[str, Any]) -> Iterator[Any]:
    """Yield what a class Trainable reports until it says `done`; its folder goes with it."""
    with tempfile.TemporaryDirectory(prefix="raysearch-trainable-", ignore_cleanup_errors=True) as folder:
        trainable = _writing_to(folder, cls)(config)
        try:
            done = False
            while not done:
                result = trainable.step()
                done = bool(result.get("done", False))
                yield {name: value for name, value in result.items() if name != "done"}
        finally:
            trainable.cleanup()


def _writing_to(folder: str, cls: Any) -> Any:
    """Return the class with `folder` as its `logdir`: Tune's Trainable, outside a Tuner, makes one in the home."""
    if not hasattr(cls, "_setup_logdir"):
        return cls

    def set_up(trainable: Any) -> None:
        trainable._logdir = folder

    return type(cls.__name__, (cls,), {"_setup_logdir": set_up, "__module__": cls.__module__})
