"""Sampler `random`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from raysearch.criteria import Criterion
from raysearch.errors import ExperimentError
from raysearch.records import Configuration, Outcome
from raysearch.registry import Validated
from raysearch.samplers import Propose
from raysearch.samplers.search_space import Space
from raysearch.samplers.space_function import FunctionSpace

_TRIES_PER_CONFIGURATION = 1000


@dataclass(frozen=True)
class Random(Validated):
    """`n_configurations` different valid configurations, each parameter drawn independently.

    A larger number with the same seed gives the same ones first, so that a finished search can be extended. Raises
    ValueError unless `n_configurations` >= 1, ExperimentError where the space has not so many.
    Source: Bergstra & Bengio 2012.
    """

    n_configurations: Annotated[int, Ge(1)] = 32

    def bind(self, space: Space | FunctionSpace, seed: int, criterion: Criterion | None = None) -> Propose:
        """Return the proposal: all configurations at once, those after the known ones on a later call."""
        drawn = self._draw(space, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,))))

        def propose(outcomes: Sequence[Outcome]) -> list[Configuration]:
            known = {outcome.configuration.id for outcome in outcomes}
            return [configuration for configuration in drawn if configuration.id not in known]

        return propose

    def _draw(self, space: Space | FunctionSpace, generator: np.random.Generator) -> list[Configuration]:
        drawn: dict[str, Configuration] = {}
        for _ in range(_TRIES_PER_CONFIGURATION * self.n_configurations):
            parameters = space.sample(generator)
            if space.valid(parameters):
                configuration = Configuration.of(parameters)
                drawn.setdefault(configuration.id, configuration)
            if len(drawn) == self.n_configurations:
                return list(drawn.values())
        raise ExperimentError(
            f"found only {len(drawn)} different valid configurations of the {self.n_configurations} asked for, after "
            f"{_TRIES_PER_CONFIGURATION * self.n_configurations} draws: ask for fewer, widen the space or relax its "
            "constraints, or use the grid sampler"
        )
