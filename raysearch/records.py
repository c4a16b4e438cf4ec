"""The frozen nouns that rooms exchange. No behaviour beyond making and reading them; stdlib only."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple

from raysearch.errors import ExperimentError
from raysearch.json_values import as_json

_as_text = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode


class Status(StrEnum):
    """How an instance ended."""

    COMPLETE = "COMPLETE"
    """Trained to its end with a finite loss."""
    DIVERGED = "DIVERGED"
    """Its loss became NaN or infinite: a result, counted as +inf."""
    FAILED = "FAILED"
    """Crashed, hung or lost its machine more often than retries allow: counted as +inf."""
    STOPPED = "STOPPED"
    """Ended early because its configuration had been eliminated; counts for nothing."""


class Phase(StrEnum):
    """Which of the two kinds of instances: those that decide, and those that confirm the winner."""

    RACE = "race"
    CONFIRMATION = "confirmation"


class Signal(StrEnum):
    """What `Race.ask` answers when it has no instance to train."""

    WAIT = "WAIT"
    """A decision is open until running instances have finished."""
    DONE = "DONE"
    """The race is over."""


WAIT: Final = Signal.WAIT
DONE: Final = Signal.DONE


@dataclass(frozen=True)
class Configuration:
    """One set of hyperparameters, architecture included. Make it with `Configuration.of(parameters)`."""

    id: str
    parameters: Mapping[str, Any] = field(hash=False, compare=False)

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Configuration:
        """Return the configuration with these parameters, as JSON gives them back; its id is the hash of the content.

        Raises ExperimentError, naming parameter and value, for what JSON cannot hold.
        """
        plain = {}
        for name, value in parameters.items():
            if not isinstance(name, str):
                raise ExperimentError(f"parameter {name!r:.80}: the name of a parameter must be text")
            try:
                plain[name] = as_json(value)
            except ExperimentError as error:
                raise ExperimentError(f"parameter {name!r}: {error}") from error
        content = _as_text(plain)
        return cls(hashlib.sha256(content.encode()).hexdigest()[:12], plain)


class InstanceKey(NamedTuple):
    """One training: a configuration's id and the seed of its two sources of randomness."""

    configuration_id: str
    seed: int


@dataclass(frozen=True)
class TrialRequest:
    """What to train next: one configuration with one or several seeds (a block that shares a trial)."""

    configuration: Configuration
    seeds: tuple[int, ...]
    phase: Phase = Phase.RACE
    cutoffs: Mapping[int, float] = field(default_factory=dict, compare=False, hash=False)
    """By epoch, the loss above which a screening instance ends; empty for all others."""
    n_seen: int | None = field(default=None, compare=False, hash=False)
    """Where a rule sees in a window, how many of the instances asked for so far it had seen when it asked for these."""

    @property
    def keys(self) -> tuple[InstanceKey, ...]:
        """The instances in this block, in the order of their seeds."""
        return tuple([InstanceKey(self.configuration.id, seed) for seed in self.seeds])


@dataclass(frozen=True)
class PackGain:
    """What was measured of one architecture: `width` instances are worth training together, 1 means each alone.

    `alone_s` is what a training step takes alone, `packed_s` what it takes for each member of such a pack.
    """

    width: int
    alone_s: float = 0.0
    packed_s: float = 0.0


@dataclass(frozen=True)
class InstanceResult:
    """What came of one training. `loss` is +inf unless `status` is COMPLETE; lower is better.

    `curve` holds the validation loss after each epoch; `seconds` is wall time on the worker; `metrics` are measures
    beside the loss; `weights` is a safetensors file as bytes. `attempt` counts from 1.
    """

    key: InstanceKey
    loss: float
    status: Status = Status.COMPLETE
    curve: tuple[float, ...] = ()
    test_loss: float | None = None
    seconds: float = 0.0
    node: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict, compare=False)
    error: str = ""
    attempt: int = 1
    weights: bytes | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, key: InstanceKey, loss: float, **fields: Any) -> InstanceResult:
        """Return a result whose status follows from the loss: NaN or infinite is DIVERGED and counts as +inf."""
        finite = math.isfinite(loss)
        status = Status.COMPLETE if finite else Status.DIVERGED
        return cls(key, float(loss) if finite else math.inf, status, **fields)

    @property
    def epochs(self) -> int:
        """Number of epochs trained."""
        return len(self.curve)


@dataclass(frozen=True)
class Outcome:
    """What came of a configuration so far, for a sampler to learn from: its finished losses by instance.

    `metrics` holds, by name, what those instances told beside the loss, +inf where one lacks it.
    """

    configuration: Configuration
    losses: tuple[float, ...]
    eliminated: bool
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict, compare=False, hash=False)


@dataclass(frozen=True)
class Summary:
    """The statistics of one set of losses that every view shows, +inf where instances diverged or failed.

    `interval` is the 95 % bootstrap interval of the criterion, where it was asked for and is known.
    """

    n_instances: int
    criterion: float
    median: float
    q3: float
    iqr: float
    max: float
    mean: float
    std: float
    interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class ParetoPoint:
    """A configuration that no other one beats in all objectives: their values, in their order, over its instances."""

    configuration_id: str
    values: tuple[float, ...]
    n_instances: int


@dataclass(frozen=True)
class Finalist:
    """A configuration that was confirmed on the same fresh seeds as others: what it showed in the race, and on them.

    `place` is its place when the race ended, from 1. `separated`: it was told from the best, with a p-value `p`, and
    trained no more.
    """

    configuration_id: str
    place: int
    race: Summary
    fresh: Summary
    separated: bool = False
    p: float | None = None


@dataclass(frozen=True)
class Verdict:
    """How the race ended.

    `certified`: True or False where the rule states a confidence, None where it states none. `probability` is then
    P(the winner is within `delta` (relative) of the best). `indistinguishable` are the ids, winner included, that the
    rule cannot tell apart. `pareto` holds the configurations that no other one beats in all of the `objectives`. `of`
    is what was judged, where it was not the loss. `confirmation` and `test_median` come from fresh seeds that the race
    never saw.
    """

    winner: Configuration
    criterion: str
    race: Summary
    n_configurations: int
    n_instances: int
    n_exhaustive: int
    confirmation: Summary | None = None
    test_median: float | None = None
    certified: bool | None = None
    probability: float | None = None
    delta: float | None = None
    indistinguishable: tuple[str, ...] = ()
    note: str = ""
    n_epochs: int = 0
    """Epochs trained in all, those of screened-out instances included; 0 where the workload reports none."""
    objectives: tuple[str, ...] = ()
    pareto: tuple[ParetoPoint, ...] = ()
    of: str = ""
    survivors: tuple[str, ...] = ()
    """Ids of the configurations that nothing eliminated, winner included."""
    n_untrained: int = 0
    """Configurations of which no instance was ever asked for: what is certified is not about them."""
    finalists: tuple[Finalist, ...] = ()
    """Who was confirmed, the winner first, then the others, best first; none where the winner alone was."""

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % bootstrap interval of the winner's confirmed criterion; None where it is not known."""
        return None if self.confirmation is None else self.confirmation.interval


@dataclass(frozen=True)
class Plan:
    """What a search will cost, known without training anything."""

    n_configurations: int
    n_instances: tuple[int, int]
    """Least and greatest number, confirmation included."""
    n_exhaustive: int
    n_epochs: int | None
    """Epochs per instance, where the workload says so."""
    wave: int
    """Configurations that race together at first; fewer than all where the sampler proposes in waves."""
    finalists: int = 1
    """Configurations that are confirmed."""
    learnt: tuple[str, ...] = ()
    """What is learnt from earlier searches, and what of it counts, in words."""


@dataclass(frozen=True)
class Progress:
    """A moment of a race, for those who watch. Times in seconds; `remaining_s` is None while it cannot be told."""

    round: int
    n_configurations: int
    n_survivors: int
    n_finished: int
    n_running: int
    n_expected: int
    incumbent: Configuration | None = None
    incumbent_value: float = math.nan
    phase: Phase = Phase.RACE
    n_diverged: int = 0
    n_failed: int = 0
    n_stopped: int = 0
    n_retries: int = 0
    elapsed_s: float = 0.0
    remaining_s: float | None = None
    criterion: str = ""


@dataclass(frozen=True)
class Model:
    """One trained instance, ready to be used elsewhere: which workload built it, from what, and an example.

    `workload` is the workload's section of the experiment; `example` and `prediction` are arrays of a few rows that
    went in and came out.
    """

    key: InstanceKey
    workload: Mapping[str, Any]
    parameters: Mapping[str, Any]
    weights: bytes = field(repr=False)
    example: Any = field(repr=False, default=None)
    prediction: Any = field(repr=False, default=None)
