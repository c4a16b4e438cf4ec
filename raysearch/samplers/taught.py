"""What earlier searches teach a sampler, if it learns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from raysearch.criteria import Criterion
from raysearch.errors import ExperimentError
from raysearch.records import Configuration, InstanceResult, Outcome
from raysearch.samplers import Propose, Sampler
from raysearch.samplers.included import of_space
from raysearch.samplers.search_space import Space
from raysearch.samplers.space_function import FunctionSpace
from raysearch.storage.events import Learn


@runtime_checkable
class Teachable(Protocol):
    """A sampler that learns, from the outcomes of earlier searches too."""

    def bind_taught(
        self,
        space: Space | FunctionSpace,
        seed: int,
        criterion: Criterion,
        taught: Sequence[Outcome],
        at_first: Sequence[Outcome],
    ) -> Propose:
        """Return the proposal, as `bind` does, of who knows `taught`, and `at_first` until there is an outcome."""
        ...


def bound(
    sampler: Sampler, space: Space | FunctionSpace, seed: int, criterion: Criterion, learnt: Sequence[Learn]
) -> Propose:
    """Return the proposal of a sampler; one that learns is told what earlier searches teach of this `space`.

    Losses of another workload setting are on another scale: they say where to begin, and nothing once others are there.
    """
    if not learnt or not isinstance(sampler, Teachable):
        return sampler.bind(space, seed, criterion)
    taught = [one for event in learnt if event.alike for one in _outcomes(event, space)]
    others = [one for event in learnt if not event.alike for one in _outcomes(event, space)]
    return sampler.bind_taught(space, seed, criterion, taught, others)


def not_of_space(space: Space | FunctionSpace, configuration: Configuration) -> str:
    """Return in words why a configuration is not of a space; nothing where it is."""
    try:
        of_space(space, configuration.parameters)
    except ExperimentError as error:
        return str(error)
    return "" if space.valid(configuration.parameters) else "it breaks a constraint"


def _outcomes(event: Learn, space: Space | FunctionSpace) -> list[Outcome]:
    told: dict[str, list[InstanceResult]] = {}
    for one in event.results:
        told.setdefault(one.key.configuration_id, []).append(one)
    return [
        Outcome(one, tuple(r.loss for r in told[one.id]), one.id not in event.survivors, _metrics(told[one.id]))
        for one in event.configurations
        if not not_of_space(space, one)
    ]


def _metrics(results: Sequence[InstanceResult]) -> Mapping[str, Any]:
    names = sorted({name for one in results for name in one.metrics})
    return {name: tuple(one.metrics.get(name, float("inf")) for one in results) for name in names}
