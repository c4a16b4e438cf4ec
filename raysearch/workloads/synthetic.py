"""Noisy losses whose truth is known: for tests, benchmarks of rules, and trying an experiment file out. No torch.

An instance's loss is `level + spread * T(z)`, z standard normal and T Tukey's g-and-h transform (g = skew, h = tail):
skewed and heavy-tailed like the losses of real trainings, median exactly `level`, every quantile known.
"""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Interval
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.errors import ExperimentError, unknown
from raysearch.records import Configuration, InstanceKey, InstanceResult
from raysearch.registry import Validated
from raysearch.workloads import Report

_DEFAULTS = {"level": 0.0, "spread": 1.0, "bad": 0.0, "diverging": 0.0}
_COMMON, _OWN = 0, 1


@dataclass(frozen=True)
class Synthetic(Validated):
    """Losses drawn from a known law; the space may set level, spread, bad and diverging (defaults 0, 1, 0, 0).

    Args:
        skew: g of the g-and-h transform, any number; 0 is symmetric.
        tail: h of the transform, in [0, 1); 0 is normal, 0.2 has a rare instance ten spreads away.
        pairing: share of the noise's variance that is the same for all configurations at the same seed, in [0, 1].
        bad_shift: how many spreads worse an instance in the bad mode is (share of such instances: parameter `bad`).
        epochs: number of reports, at least 1.
        seconds: seconds slept per instance, spread over its epochs.
        fail: share of instances, fixed by (configuration, seed), that fail in the middle of their epochs.
        failure: how: `raise` an error, `kill` the process (SIGKILL), or `hang` for an hour.
        fail_once_in: a folder that is there; an instance that failed once leaves a mark in it and passes the next time.
    """

    skew: float = 0.5
    tail: Annotated[float, Interval(ge=0, le=1)] = 0.1
    pairing: Annotated[float, Interval(ge=0, le=1)] = 0.5
    bad_shift: Annotated[float, Ge(0)] = 5.0
    epochs: Annotated[int, Ge(1)] = 1
    seconds: Annotated[float, Ge(0)] = 0.0
    fail: Annotated[float, Interval(ge=0, le=1)] = 0.0
    failure: Literal["raise", "kill", "hang"] = "raise"
    fail_once_in: str = ""

    def prepare(self) -> None:
        """Share nothing."""

    def check(self, parameters: Mapping[str, Any]) -> None:
        """Raise ExperimentError for an unknown parameter, a value out of range, or a folder that is not there."""
        if self.fail_once_in and not Path(self.fail_once_in).is_dir():
            raise ExperimentError(f"synthetic: fail_once_in = {self.fail_once_in!r:.80} is no folder: make it first")
        for name, value in parameters.items():
            if name not in _DEFAULTS:
                raise unknown("parameter of synthetic", name, _DEFAULTS)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ExperimentError(f"synthetic: {name} = {value!r} is no number")
            if (name == "spread" and value < 0) or (name in ("bad", "diverging") and not 0 <= value <= 1):
                raise ExperimentError(f"synthetic: {name} = {value} is out of range (spread >= 0, shares in [0, 1])")

    def train(
        self, configuration: Configuration, seeds: Sequence[int], report: Report, data: None = None
    ) -> list[InstanceResult]:
        """Return one result per seed, sleeping and reporting on the way as the settings say."""
        return [self._instance(configuration, seed, report) for seed in seeds]

    def _instance(self, configuration: Configuration, seed: int, report: Report) -> InstanceResult:
        own = _generator(_OWN, seed, configuration.id)
        start = time.perf_counter()
        loss = self._loss(configuration, seed, own)
        fails = own.random() < self.fail
        test_loss = loss + 0.1 * (_DEFAULTS | dict(configuration.parameters))["spread"] * own.standard_normal()
        curve = []
        for epoch in range(1, self.epochs + 1):
            if fails and epoch > self.epochs // 2:
                self._fail(configuration, seed)
                fails = False
            if self.seconds:
                time.sleep(self.seconds / self.epochs)
            # falls exponentially and meets the final loss exactly at the last epoch
            left = np.expm1(5.0 * (1.0 - epoch / self.epochs)) / np.expm1(5.0)
            curve.append(float(loss + left * (1.0 + abs(loss))))
            report(epoch, curve[-1])
        seconds = time.perf_counter() - start
        key = InstanceKey(configuration.id, seed)
        return InstanceResult.of(key, loss, curve=tuple(curve), test_loss=float(test_loss), seconds=seconds)

    def losses(self, configuration: Configuration, seeds: Sequence[int]) -> NDArray[np.float64]:
        """Return the losses `(n_seeds,)` that `train` would report, +inf where it diverges."""
        values = [self._loss(configuration, seed, _generator(_OWN, seed, configuration.id)) for seed in seeds]
        return np.asarray(np.nan_to_num(np.asarray(values), nan=np.inf), dtype=np.float64)

    def _loss(self, configuration: Configuration, seed: int, own: np.random.Generator) -> float:
        law = _DEFAULTS | dict(configuration.parameters)
        z = np.sqrt(self.pairing) * _generator(_COMMON, seed).standard_normal()
        z += np.sqrt(1.0 - self.pairing) * own.standard_normal()
        shift = self.bad_shift if own.random() < law["bad"] else 0.0
        diverges = own.random() < law["diverging"]
        return float("nan") if diverges else float(law["level"] + law["spread"] * (self._transform(z) + shift))

    def _transform(self, z: Any) -> Any:
        skewed = np.expm1(self.skew * z) / self.skew if self.skew else z
        return skewed * np.exp(0.5 * self.tail * z**2)

    def _fail(self, configuration: Configuration, seed: int) -> None:
        if self.fail_once_in:
            mark = Path(self.fail_once_in) / f"{configuration.id}-{seed}"
            if mark.exists():
                return
            mark.touch()
        if self.failure == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.failure == "hang":
            time.sleep(3600.0)
        raise RuntimeError(f"synthetic failure, as asked: configuration {configuration.id}, seed {seed}")

    def quantile(self, parameters: Mapping[str, Any], q: Any) -> Any:
        """Return the exact loss quantile(s) at `q`, in (0, 1), any shape; +inf in the diverging share."""
        self.check(parameters)
        law = _DEFAULTS | dict(parameters)
        below = np.atleast_1d(np.asarray(q, dtype=float))
        below = below / (1.0 - law["diverging"]) if law["diverging"] < 1.0 else np.full_like(below, 2.0)
        values = np.full(below.shape, np.inf)
        finite = below < 1.0
        values[finite] = law["level"] + law["spread"] * self._noise_quantile(below[finite], law["bad"])
        return values if np.ndim(q) else float(values[0])

    def _noise_quantile(self, q: NDArray[np.float64], bad: float) -> NDArray[np.float64]:
        """Return quantiles of T(z), shifted by bad_shift with probability `bad`, by interpolating its known CDF."""
        z = np.linspace(-8.5, 8.5, 20_001)
        cdf = np.vectorize(NormalDist().cdf)(z)
        noise = self._transform(z)
        if not bad:
            return np.asarray(self._transform(np.vectorize(NormalDist().inv_cdf)(q))) if q.size else q
        grid = np.sort(np.concatenate([noise, noise + self.bad_shift]))
        mixed = (1.0 - bad) * np.interp(grid, noise, cdf) + bad * np.interp(grid - self.bad_shift, noise, cdf)
        return np.asarray(np.interp(q, mixed, grid), dtype=np.float64)

    def truth(self, parameters: Mapping[str, Any], criterion: Criterion, n: int = 10_000) -> float:
        """Return the criterion of the whole law, from `n` equally likely losses (a max or min is that of `n`)."""
        return float(criterion(self.quantile(parameters, (np.arange(n) + 0.5) / n)))


def _generator(stream: int, seed: int, name: str = "") -> np.random.Generator:
    """Return the generator of one stream, whatever ran before it in this process."""
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([stream, seed, digest]))
