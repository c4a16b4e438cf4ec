"""Events: everything that changes a race, or is to be remembered of it, as frozen values.

`codec` gives each its line in the journal; `State.apply` is what they do to a race.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from raysearch.records import Configuration, InstanceKey, InstanceResult, PackGain, Phase, TrialRequest
from raysearch.rules import Elimination, RuleVerdict


@dataclass(frozen=True)
class Start:
    """A search begins; `experiment` is its file as plain data, `version` that of the journal's lines."""

    experiment: Mapping[str, Any]
    version: int = 1
    raysearch: str = ""


@dataclass(frozen=True)
class Resume:
    """A new driver goes on, with these settings."""

    experiment: Mapping[str, Any]


@dataclass(frozen=True)
class Learn:
    """An earlier search of the same workload teaches this one: what its race trained to an end, by configuration.

    `run` is its directory, `name` and `seed` are its own, `digest` is that of its journal. `alike`: its workload has
    the same settings, so that losses are on one scale. `counts`: its seed and measures are the same, too, so its
    instances are the very ones that this search would train, and none of them is trained again; else `reason` says why
    not. `results` have losses and metrics only; `survivors` are the ids that nothing eliminated there.
    """

    run: str
    name: str
    seed: int
    digest: str
    alike: bool
    counts: bool
    reason: str
    configurations: tuple[Configuration, ...]
    results: tuple[InstanceResult, ...]
    survivors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wave:
    """The sampler added configurations, which race from now on."""

    configurations: tuple[Configuration, ...]


@dataclass(frozen=True)
class Decide:
    """The rule looked: the race is in `round`, and `batch` (ids, one for each instance) is asked for whole.

    Where there is a window, this and all else that a rule decides rests on the first `n_seen` instances asked for.
    """

    round: int
    batch: tuple[str, ...] = ()
    n_seen: int | None = None


@dataclass(frozen=True)
class Tell:
    """An instance ended with a result that counts."""

    result: InstanceResult
    phase: Phase

    @property
    def key(self) -> InstanceKey:
        """The instance."""
        return self.result.key


@dataclass(frozen=True)
class Failure:
    """An instance crashed, hung or lost its machine for the `attempt`-th time, from 1; it waits to be asked again."""

    key: InstanceKey
    attempt: int
    error: str = ""
    node: str = ""


@dataclass(frozen=True)
class Lost:
    """A running instance was lost without any fault of its own; it waits to be asked again."""

    key: InstanceKey


@dataclass(frozen=True)
class Stop:
    """Nobody waits for an instance any more: whoever trains it ends it."""

    key: InstanceKey


@dataclass(frozen=True)
class Retry:
    """A failure for good is taken back: the instance is asked for again."""

    key: InstanceKey


@dataclass(frozen=True)
class Screen:
    """A first instance ended at a rung, the last loss of its `curve` above `cutoff`, and its configuration with it."""

    key: InstanceKey
    cutoff: float
    curve: tuple[float, ...]
    seconds: float = 0.0
    node: str = ""


@dataclass(frozen=True)
class Eliminate:
    """A round of a wave ended with a cut; its configurations are ids, its round counts within the wave."""

    wave: int
    cut: Elimination[str]
    n_seen: int | None = None


@dataclass(frozen=True)
class Conclude:
    """A wave has its verdict, on ids."""

    wave: int
    verdict: RuleVerdict[str]
    n_seen: int | None = None


@dataclass(frozen=True)
class Window:
    """From now on the rule sees the results of the instances that were asked for `width` asks ago, and before."""

    width: int


@dataclass(frozen=True)
class Final:
    """The sampler has no more configurations: the verdict is the race's."""


@dataclass(frozen=True)
class Finalists:
    """These are confirmed on the same fresh instances, `n_instances` each, in the race's order, its leader first.

    `n_finalists` were wanted. None of them: the race's winner alone is confirmed after all.
    """

    configurations: tuple[str, ...]
    n_finalists: int = 0
    n_instances: int = 0


@dataclass(frozen=True)
class Separate:
    """A finalist is told from `best`, the best one over the first `n_instances`, with a p-value `p`: it is out."""

    configuration_id: str
    n_instances: int
    best: str
    p: float


@dataclass(frozen=True)
class Confirm:
    """Of the finalists this one won, over `n_instances` of each that was left."""

    configuration_id: str
    n_instances: int


@dataclass(frozen=True)
class Reopen:
    """A finished race goes on: with more of the sampler, or, `whole_pool`, with every configuration anew."""

    whole_pool: bool


@dataclass(frozen=True)
class Drop:
    """A person took a configuration out of the race; its `value` over `n_instances` was the criterion then."""

    configuration_id: str
    reason: str = ""
    by: str = ""
    value: float = math.nan
    n_instances: int = 0

    def cut(self, round_: int) -> Elimination[str]:
        """Return it as a cut of a round; no cutoff was needed for it."""
        reason = f"dropped by a person: {self.reason or 'no reason given'} ({self.by})"
        return Elimination(round_, math.nan, self.n_instances, (self.configuration_id,), (self.value,), reason)


@dataclass(frozen=True)
class Pause:
    """A person let no further instance begin, or (`on` False) let the race go on."""

    on: bool
    by: str = ""


@dataclass(frozen=True)
class Halt:
    """A person ended the search, to be gone on with; `now`: without waiting for what ran."""

    now: bool = False
    by: str = ""


@dataclass(frozen=True)
class Measured:
    """The numbers of one measure for one instance, or (`seed` None) for a configuration over `n_instances`.

    `tables` are lists of rows by name; `error` says why there are no numbers.
    """

    measure: str
    configuration_id: str
    seed: int | None
    numbers: Mapping[str, float]
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    n_instances: int = 1
    error: str = ""


@dataclass(frozen=True)
class Packs:
    """What was measured on `node` of packs of a configuration's architecture, when `pack: auto` met its first one.

    It tells why a search trained as it did, and decides nothing: another driver measures anew.
    """

    configuration_id: str
    gain: PackGain
    node: str = ""


Event = (
    Start | Resume | Learn | Window | Wave | Decide | TrialRequest | Tell | Failure | Lost | Stop | Retry | Screen
    | Eliminate | Conclude | Final | Finalists | Separate | Confirm | Reopen | Drop | Pause | Halt | Measured | Packs
)  # fmt: skip
REMARKS = (Start, Resume, Halt, Measured, Packs)
"""Events that change nothing in a race."""
