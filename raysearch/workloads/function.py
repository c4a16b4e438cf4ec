"""Workload `function`: any model of the user, as a plain function, a generator of losses or a class Trainable."""

from __future__ import annotations

import copy
import inspect
import math
import numbers
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raysearch.errors import ExperimentError, WorkloadError
from raysearch.records import Configuration, InstanceKey, InstanceResult
from raysearch.workloads import Report


@dataclass(frozen=True)
class Function:
    """What `raysearch.search(train, ...)` runs.

    `train(config, seed)` returns a loss, or a mapping with `loss` and, if wanted, `test_loss` and other numbers; or it
    is a generator of per-epoch losses, whose last one counts; or a class with Tune's `setup` and `step` that reports
    `loss`. Lower is better. A function that never yields cannot be stopped before its end.
    """

    fn: Any  # what it must be is said below, as `search` calls it

    def __post_init__(self) -> None:
        """Refuse what cannot be called."""
        if not callable(self.fn):
            raise ExperimentError(f"train must be a function of (config, seed), got {self.fn!r}")

    def prepare(self) -> None:
        """Return nothing: a function brings its own data."""

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Accept every parameter: the function knows its own."""

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: Any
    ) -> list[InstanceResult]:
        """Call the function once per seed; raises WorkloadError where it returns no number."""
        return [self._train_one(configuration, seed, report) for seed in seeds]

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
                raise WorkloadError(f"{self._name} yielded no loss")
        values = self._numbers(answer)
        loss, test_loss = values.pop("loss"), values.pop("test_loss", None)
        key = InstanceKey(configuration.id, seed)
        seconds = time.perf_counter() - start
        return InstanceResult.of(key, loss, curve=tuple(curve), test_loss=test_loss, metrics=values, seconds=seconds)

    @property
    def _name(self) -> str:
        return str(getattr(self.fn, "__name__", self.fn))

    def _call(self, config: dict[str, Any], seed: int) -> Any:
        call: Callable[..., Any] = self.fn
        if inspect.isclass(self.fn) and hasattr(self.fn, "step"):
            return _steps(call, {**config, "seed": seed})
        return call(config, seed)

    def _numbers(self, answer: Any) -> dict[str, float]:
        """Return `loss`, and whatever other numbers a mapping holds, as plain floats."""
        mapping = answer if isinstance(answer, Mapping) else {"loss": answer}
        values = {name: _number(value) for name, value in mapping.items()}
        if values.get("loss") is None:
            what = f"a mapping without a number under 'loss': {answer!r}" if mapping is answer else f"{answer!r}"
            raise WorkloadError(f"{self._name} must give a loss (a number, lower is better); it gave {what:.200}")
        return {name: value for name, value in values.items() if value is not None}


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
