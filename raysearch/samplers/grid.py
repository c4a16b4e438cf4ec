"""Sampler `grid`."""

from __future__ import annotations

from dataclasses import dataclass

from raysearch.criteria import Criterion
from raysearch.records import Configuration
from raysearch.samplers import Propose
from raysearch.samplers.search_space import Space
from raysearch.samplers.space_function import FunctionSpace


@dataclass(frozen=True)
class Grid:
    """Every valid configuration of a discrete space, in the order of the file.

    Raises ExperimentError for a continuous range, whose values no grid can list.
    """

    def bind(self, space: Space | FunctionSpace, seed: int, criterion: Criterion | None = None) -> Propose:
        """Return the proposal; `seed` plays no part."""
        configurations: list[Configuration] = list(space.enumerate())

        return lambda outcomes: configurations  # known ones only: that ends the search
