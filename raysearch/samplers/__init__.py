"""Samplers: which configurations race at all.

Contract: a frozen dataclass; `bind(space, seed, criterion)` returns `propose(outcomes) -> configurations`, a pure
function of the outcomes so far, the space and the seed, so that a resumed search goes on as if it had never stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from raysearch.criteria import Criterion
from raysearch.records import Configuration, Outcome
from raysearch.samplers.search_space import Space
from raysearch.samplers.space_function import FunctionSpace

Propose = Callable[[Sequence[Outcome]], Sequence[Configuration]]


class Sampler(Protocol):
    """Fills the pool of a race."""

    def bind(self, space: Space | FunctionSpace, seed: int, criterion: Criterion | None = None) -> Propose:
        """Return the function that proposes the next wave; an empty one, or known ones only, ends the search.

        Samplers that learn score the outcomes by `criterion`.
        """
        ...
