"""What the lines of a journal may say of finalists: who they are, who is told from the best, and who wins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .books import Books, hold


class FinalBooks(Books):
    """Books that know what finalists are promised."""

    @property
    def winner(self) -> str | None:
        return self.won or self.leader

    def _on_finalists(self, e: dict[str, Any]) -> None:
        ids = e["configurations"]
        hold(self.final, "finalists are chosen when the race is over", e)
        self._end_contest()
        if not ids:
            hold(self.n_finalists == 1 or not self.confirm, "there are finalists where they are wanted", e)
            return
        hold((e["n_finalists"], e["n_instances"]) == (self.n_finalists, self.confirm), "they are those wanted", e)
        hold(len(set(ids)) == len(ids) <= max(self.n_finalists, 1), "finalists are so many", e)
        hold(not set(ids) & (self.dropped | self.screened), "who was taken out is no finalist", e)
        raced = {id_ for id_, seed in self.told if self._is_race(seed)}
        hold(set(ids) - {self.leader} <= raced, "finalists were trained", e)
        hold(ids[0] == self.leader or self.leader in self.dropped, "the race's leader is the first of them", e)
        self.finalists = ids

    def _fresh(self, id_: str, n: int) -> float | None:
        """Return the criterion over the first fresh instances, None where the auditor has no words for it."""
        seeds = self.columns["confirmation"][:n]
        lacking = [seed for seed in seeds if (id_, seed) not in self.told]
        hold(len(seeds) == n and not lacking, "finalists are compared over the same instances", id_, n, lacking)
        losses = np.array([float(self.told[id_, seed]["loss"]) for seed in seeds])
        return None if self.criterion is None or not np.isfinite(losses).all() else float(self.criterion(losses))

    def _on_separate(self, e: dict[str, Any]) -> None:
        id_, n = e["configuration"], e["n_instances"]
        hold(id_ in self.contenders and self.won is None, "who is told from the best was a finalist", e)
        hold(20 <= n <= self.confirm and (n == self.confirm or n in (25, 50)), "at a look", e)
        hold(0 <= e["p"] * (len(self.finalists) - 1) <= 0.05, "by a test", e)
        own, best = self._fresh(id_, n), self._fresh(e["best"], n)
        hold(own is None or best is None or own > best, "it is worse than the best", e, own, best)
        self.separated[id_] = n

    def _on_confirm(self, e: dict[str, Any]) -> None:
        hold(bool(self.finalists) and self.won is None, "of the finalists one wins once", e)
        hold(e["winner"] in self.contenders and e["n_instances"] == self.confirm, "one that is left", e)
        values = {id_: self._fresh(id_, self.confirm) for id_ in self.contenders}
        known = {id_: value for id_, value in values.items() if value is not None}
        best = min(known.values(), default=0.0)
        hold(len(known) < len(values) or math.isclose(known[e["winner"]], best), "the best one", e, values)
        self.won = e["winner"]
