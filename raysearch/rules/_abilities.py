"""What a rule may offer beside its contract."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable


@runtime_checkable
class Windowed(Protocol):
    """A rule whose decisions may depend on which result comes first, unless it sees them in the order of asking.

    With a window of W, what is asked for k-th is decided from the results of the first k - W that were asked for, from
    all of them and no others: decisions depend on W alone, and no worker waits for a batch.
    """

    @property
    def wanted_window(self) -> int | Literal["auto"] | None:
        """W; "auto" is twice the slots at the start of the search; None lets the rule see whatever has come."""
