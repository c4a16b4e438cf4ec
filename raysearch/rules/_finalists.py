"""The race of `surrogate`'s finalists: `top_two`, whose budget need not be one that a user set."""

from __future__ import annotations

from dataclasses import dataclass

from raysearch.rules.top_two import TopTwo


@dataclass(frozen=True)
class Finalists(TopTwo):
    """`top_two` with a word of its own for what has ended it; `bound` says that, where it is not the budget."""

    bound: str = ""

    @property
    def spent(self) -> str:
        """What a verdict says where `budget` has ended the race."""
        return self.bound or super().spent
