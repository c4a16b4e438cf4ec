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
"""Draws in a row that find nothing new, for each configuration that was found, and"""
_LEAST = 10
"""for so many in any case, ends the search for more: few of a space may be valid."""


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
        n_draws = in_vain = 0
        while in_vain < _TRIES_PER_CONFIGURATION * max(len(drawn) + 1, min(self.n_configurations, _LEAST)):
            n_draws, in_vain = n_draws + 1, in_vain + 1
            parameters = space.sample(generator)
            if not space.valid(parameters):
                continue
            configuration = Configuration.of(parameters)
            if configuration.id not in drawn:
                drawn[configuration.id], in_vain = configuration, 0
            if len(drawn) == self.n_configurations:
                return list(drawn.values())
        raise ExperimentError(
            f"found only {len(drawn)} different valid configurations of the {self.n_configurations} asked for, after "
            f"{n_draws} draws, the last {in_vain} of them in vain: ask for fewer, widen the space or relax its "
            "constraints, or use the grid sampler"
        )
