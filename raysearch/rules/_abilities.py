"""What a rule may offer beside its contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from raysearch.rules import Rule
from raysearch.rules._lessons import Lesson


@runtime_checkable
class Windowed(Protocol):
    """A rule whose decisions may depend on which result comes first, unless it sees them in the order of asking.

    With a window of W, what is asked for k-th is decided from the results of the first k - W that were asked for, from
    all of them and no others: decisions depend on W alone, and no worker waits for a batch.
    """

    @property
    def wanted_window(self) -> int | Literal["auto"] | None:
        """W; "auto" is twice the slots at the start of the search; None lets the rule see whatever has come."""


@runtime_checkable
class Learns(Protocol):
    """A rule that also learns from what the configurations are; it decides without that, too, though less well."""

    def informed(self, configurations: Sequence[Mapping[str, Any]], seed: int, lessons: Sequence[Lesson] = ()) -> Rule:
        """Return the rule for a matrix whose rows are configurations with these hyperparameters.

        `seed` is that of the search, for whatever it draws: the same matrix, the same decision. `lessons` are earlier
        searches: they say where to look, and certify nothing.
        """
