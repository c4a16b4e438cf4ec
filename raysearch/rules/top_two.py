"""Rule `top_two`: race the leader against its most dangerous rival until the leader is certified."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Interval
from numpy.typing import NDArray

from raysearch.criteria import Criterion
from raysearch.registry import Validated
from raysearch.rules import Decision, Elimination, RuleVerdict
from raysearch.rules._contenders import Contenders
from raysearch.rules._rounds import cut, in_steps, missing, open_round, require_budget
from raysearch.rules._small_samples import small_samples

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

N_SECOND = 8
"""So many configurations at least train a second instance: the pooled scale comes from them."""

NO_CLAIM = "no confidence is stated for a criterion of the tail or the spread: few instances say little of them"
ENOUGH = 5
"""Nothing more is started once running instances promise so many times less doubt than `confidence` allows."""


@dataclass(frozen=True)
class TopTwo(Validated):
    """Stops by itself once P(the leader is within `delta` of the best) reaches `confidence`, or says it could not.

    1. Every configuration trains `warmup` instances (two where one gives no criterion, as for std).
    2. While more than `keep` survive, the best quarter by the criterion, `keep` at least, trains one instance more.
    3. The best quarter has two instances at least. Then, without rounds, on whatever has finished: scales s_c are the
       standard deviations within configurations, shrunk with `prior_dof` degrees of freedom to the best quarter's;
       theta_c is the criterion less its small-sample bias; its error is K[n_c] s_c, where bias and K are those of the
       criterion of n_c normal instances. Where columns (equal seeds, equal samples) prove to move all rows alike, their
       luck is predicted and taken off both. Leader b = argmin theta. Rival j = the one with the greatest probability
       (Student-t) of being more than delta |theta_b| better, by finished and running instances. Train b if its error
       is the greater, if all others are separated and it has fewer than `certify` instances, or if its own bad mode is
       the greater doubt; else j.
       With a `window` of W, what is asked for k-th is decided from the first k - W instances that were asked for, from
       all of them and no others: the same decisions whatever the number of workers, who do not wait; "auto" is twice
       the slots at the start of the search. None looks after every result, and depends on which comes first. `batch`,
       if given, starts so many instances at a time and waits for all of them instead.
    4. P = product over rivals of 1 - P(more than delta better) x P(the leader's bad mode is rarer than what the
       criterion can bear). Certified when P >= confidence and n_b >= certify. Not certified when `budget` (all
       instances of a wave's configurations, each its first ones at least; None = no limit) is spent, or when
       configurations that trained `cap` instances cannot be told apart to within delta, and no other may be better.

    Bad mode: losses over 5 pooled scales above their configuration's median, and diverged ones; its share is
    Beta-distributed, and what a criterion can bear is found by trial (1/4 for Q3, 1/2 for Median, none for Mean).
    A criterion of a tail or the spread of the losses (cvar, max, min, std, iqr, q3_plus_iqr, quantiles outside .46 to
    .84) is raced in the same way, but no confidence is stated: errors that hold for normal losses are wrong for the
    tails of real ones.
    A rival with one unlucky instance of two is excused with that probability, so it is tried again, not forgotten.
    Ties are broken by the order of the configurations. Raises ValueError for values out of range, and in `plan` if
    `budget` is below the number of configurations.
    Source: ours; leader against challenger as in Russo 2016 and Shang et al. 2020, scale shrinkage as in Smyth 2004.
    """

    delta: Annotated[float, Ge(0)] = 0.01
    confidence: Annotated[float, Interval(gt=0, lt=1)] = 0.95
    warmup: Annotated[int, Ge(1)] = 1
    keep: Annotated[int, Ge(2)] = 256
    certify: Annotated[int, Ge(1)] = 20
    cap: Annotated[int, Ge(2)] = 100
    prior_dof: Annotated[float, Gt(0)] = 6.0
    budget: Annotated[int, Ge(1)] | None = None
    batch: Annotated[int, Ge(1)] | None = None
    window: Annotated[int, Ge(1)] | Literal["auto"] | None = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.cap < max(self.certify, self.warmup):
            raise ValueError(
                f"cap must be at least certify ({self.certify}) and warmup ({self.warmup}), got {self.cap}"
            )

    @property
    def wanted_window(self) -> int | Literal["auto"] | None:
        """The window, unless there are batches."""
        return None if self.batch else self.window

    @property
    def spent(self) -> str:
        """What a verdict says where `budget` has ended the race."""
        return f"the budget of {self.budget} instances is spent"

    def decide(self, losses: Array, pending: Rows, criterion: Criterion) -> Decision:
        """Decide from `losses` `(n_configurations, n_instances)`; see the room's contract."""
        if not losses.shape[1]:  # so that every criterion finds a column
            losses = np.full((len(losses), 1), np.nan)
        survivors, cuts, waiting = self._screen(losses, pending, criterion)
        round_ = len(cuts) + 1
        n_base = self._first(criterion) + len(cuts)
        survivors = survivors[~(losses[survivors] == -np.inf).any(axis=1)]
        decision = waiting or self._race(survivors, losses[survivors], pending[survivors], criterion, n_base)
        decision = replace(decision, eliminated=tuple(cuts), round=round_)
        if self.budget is None or decision.verdict is not None:
            return decision
        return self._within_budget(decision, losses, pending, criterion, survivors)

    def plan(self, n_configurations: int) -> tuple[int, int]:
        """Return the least and the greatest number of instances, for a criterion that one instance gives."""
        require_budget(self.budget, n_configurations)
        if n_configurations == 1:
            return self.warmup, self.warmup
        survivors, total, each = n_configurations, n_configurations * self.warmup, self.warmup
        while survivors > self.keep:
            survivors = max(min(self.keep, survivors), survivors // 4)
            total, each = total + survivors, each + 1
        second = min(max(survivors // 4, N_SECOND), survivors) if each == 1 else 0
        least = total + second + max(self.certify - max(each, 2), 0)
        most = total + survivors * (self.cap - each)
        if self.budget is None:
            return least, most
        limit = max(self.budget, n_configurations * self.warmup)
        return min(least, limit), min(most, limit)

    def _first(self, criterion: Criterion) -> int:
        return max(self.warmup, small_samples(criterion, self.cap).n_least)

    def _screen(
        self, losses: Array, pending: Rows, criterion: Criterion
    ) -> tuple[Rows, list[Elimination[int]], Decision | None]:
        """Return the survivors of the synchronous rounds, the cuts, and what an open round waits for."""
        survivors = np.arange(len(losses))
        cuts: list[Elimination[int]] = []
        n_instances = self._first(criterion)
        while len(survivors) > self.keep:
            n_keep = max(self.keep, len(survivors) // 4)
            # what starts ahead must be of use whatever its place: the race after the last round counts all, and so does
            # a budget
            n_next = n_keep if n_keep > self.keep and self.budget is None else 0
            waiting = open_round(losses, pending, criterion, survivors, n_instances, n_next)
            if waiting is not None:
                return survivors, cuts, waiting
            values = np.asarray(criterion(losses[survivors, :n_instances]))
            survivors, gone = cut(survivors, values, n_keep, n_instances, len(cuts) + 1)
            cuts.append(gone)
            n_instances += 1
        return survivors, cuts, None

    def _race(self, rows: Rows, losses: Array, pending: Rows, criterion: Criterion, n_base: int) -> Decision:
        """Decide among the survivors `rows`; `losses` and `pending` are theirs, `n_base` is what each must have."""
        if self.batch is not None and pending.any():
            return Decision()
        n = np.count_nonzero(~np.isnan(losses), axis=1)
        owed = self._owed(losses, pending, criterion, n_base)
        if owed.any():
            return Decision(in_steps(rows, owed))
        complete = not missing(losses, n_base).any()
        if len(rows) == 1 and complete:
            note = "there is no other configuration"
            return Decision(verdict=RuleVerdict(int(rows[0]), (int(rows[0]),), None, None, None, note))
        beliefs = Contenders.of(losses, criterion, self.cap, self.prior_dof) if n.any() else None
        if beliefs is None:
            return self._without_scale(rows, losses, pending, criterion) if complete else Decision()
        return self._among(rows, beliefs, n, pending, complete)

    def _among(self, rows: Rows, beliefs: Contenders, n: Rows, pending: Rows, complete: bool) -> Decision:
        """Decide among contenders of `n` finished instances; `complete`: all have their first ones."""
        verdict = self._verdict(rows, beliefs)
        if verdict is not None:  # it stands once the first instances of all have finished; nothing else is worth it
            return Decision(verdict=verdict) if complete else Decision()
        n_wanted = self.batch or (1 if self.wanted_window else 1 + int(pending.sum()) // 8)
        train = self._next(beliefs, n + pending, n_wanted)
        if complete and not train and not pending.any():
            return Decision(verdict=self._report(rows, beliefs, certified=False, note="every contender is at the cap"))
        return Decision(tuple(rows[train].tolist()), together=self.batch is not None)

    def _without_scale(self, rows: Rows, losses: Array, pending: Rows, criterion: Criterion) -> Decision:
        """Decide where no row has two finite losses yet, so that nobody knows how much an instance varies.

        Those with a finite loss train another instance, who trained least first, then the better ones; if none is left
        below the cap, the best criterion wins without a certificate.
        """
        started = np.count_nonzero(~np.isnan(losses), axis=1) + pending
        best = np.where(np.isfinite(losses), losses, np.inf).min(axis=1)
        order = np.lexsort((best, started))
        order = order[np.isfinite(best[order]) & (started[order] < self.cap)]
        train = order[: max((self.batch or N_SECOND) - int(pending.sum()), 0)]
        if len(order) or pending.any():
            return Decision(tuple(rows[train].tolist()), together=self.batch is not None)
        leader = int(rows[np.argsort(np.asarray(criterion(losses)), kind="stable")[0]])
        note = f"no configuration has two finite losses among {self.cap} instances (the cap)"
        return Decision(verdict=RuleVerdict(leader, tuple(rows.tolist()), None, self.delta, False, note))

    def _owed(self, losses: Array, pending: Rows, criterion: Criterion, n_base: int) -> Rows:
        """Return how many instances each row needs before anything else: `n_base`, and two for the best quarter."""
        owed: Rows = np.maximum(missing(losses, n_base) - pending, 0)
        if n_base > 1 or owed.any() or len(losses) == 1:
            return owed
        started = np.count_nonzero(~np.isnan(losses), axis=1) + pending
        first = np.asarray(criterion(losses[:, :1]))
        finished = np.count_nonzero(~np.isnan(first))
        best = np.argsort(first, kind="stable")[: min(max(finished // 4, N_SECOND), finished)]
        owed[best] = np.maximum(2 - started[best], 0)
        return owed

    def _verdict(self, rows: Rows, beliefs: Contenders) -> RuleVerdict[int] | None:
        """Return the verdict if the leader is certified, or if no further instance can change that it is not."""
        b, n = beliefs.leader, beliefs.n
        if not np.isfinite(beliefs.theta[b]):
            hopeless = not (beliefs.excuse(n) > 1 - self.confidence).any()
            return self._report(rows, beliefs, certified=False, note="every contender diverged") if hopeless else None
        worse = 1 - beliefs.rival(n, self.delta)
        excuse = float(beliefs.excuse(n)[b])
        if n[b] >= self.certify and excuse * np.prod(worse) >= self.confidence:
            return self._report(rows, beliefs, certified=True)
        at_cap = n >= self.cap
        hopeful = beliefs.rival(n, 0.0)[~at_cap] > 1 - self.confidence
        if at_cap[b] and excuse * np.prod(worse[at_cap]) < self.confidence and not hopeful.any():
            note = f"{self.cap} instances (the cap) do not tell the best apart"
            return self._report(rows, beliefs, certified=False, note=note)
        return None

    def _report(self, rows: Rows, beliefs: Contenders, *, certified: bool, note: str = "") -> RuleVerdict[int]:
        b, n = beliefs.leader, beliefs.n
        if np.isfinite(beliefs.theta[b]):
            probability = float(np.prod(1 - beliefs.rival(n, self.delta)) * beliefs.excuse(n)[b])
            alike = beliefs.rival(n, 0.0) > 1 - self.confidence
            alike[b] = True
        else:
            probability, alike = 0.0, np.isinf(beliefs.theta)
        same = tuple(rows[np.flatnonzero(alike)].tolist())
        if not beliefs.table.claims:
            note = "; ".join([part for part in (note, NO_CLAIM) if part])
            return RuleVerdict(int(rows[b]), same, None, self.delta, False, note)
        return RuleVerdict(int(rows[b]), same, probability, self.delta, certified, note)

    def _next(self, beliefs: Contenders, started: Rows, n_wanted: int) -> list[int]:
        """Return up to `n_wanted` contenders to train, most urgent first; `started` counts finished and running."""
        started = started.copy()
        train: list[int] = []
        while len(train) < n_wanted and (pick := self._pick(beliefs, started)) is not None:
            started[pick] += 1
            train.append(pick)
        return train

    def _pick(self, beliefs: Contenders, started: Rows) -> int | None:
        b, is_open = beliefs.leader, started < self.cap
        excuse = beliefs.excuse(started)
        if not np.isfinite(beliefs.theta[b]):  # all look diverged: whoever may still be excused
            hope = np.where(is_open, excuse / (started + 1), 0.0)
            pick = int(np.argmax(hope))
            return pick if excuse[pick] > 1 - self.confidence and is_open[pick] else None
        danger = beliefs.rival(started, self.delta)
        expected = np.prod(1 - danger)
        if started[b] >= self.certify and expected * excuse[b] >= 1 - (1 - self.confidence) / ENOUGH:
            return None  # what runs will do, if it comes out as expected
        separated = expected >= self.confidence
        danger = np.where(is_open, danger, -1.0)
        danger[b] = -1.0
        j = int(np.argmax(danger))
        error = beliefs.error(started)
        lead_first = error[b] >= error[j] or 1 - excuse[b] > danger[j] or (separated and started[b] < self.certify)
        if is_open[b] and (lead_first or danger[j] < 0):
            return b
        return j if danger[j] >= 0 else None

    def _within_budget(
        self, decision: Decision, losses: Array, pending: Rows, criterion: Criterion, survivors: Rows
    ) -> Decision:
        """Return `decision` with no more instances than the budget allows, or the verdict if it is spent."""
        assert self.budget is not None
        started = np.count_nonzero(losses > -np.inf, axis=1) + pending
        # who raced in an earlier wave may have spent it all: everyone is heard
        owed = int(np.maximum(missing(losses, self._first(criterion)) - pending, 0).sum())
        left = max(self.budget - int(started.sum()), owed)
        if left > 0 or pending.any():
            train = decision.train[: max(left, 0)]
            n_to_come = len(train) + int(pending.sum())  # a round that is broken off must not be waited for
            return replace(decision, train=train, n_awaited=min(decision.n_awaited, n_to_come))
        # one lucky instance crowns nobody who could have had a second
        known = np.count_nonzero(~np.isnan(losses[survivors]), axis=1) > 1
        survivors = survivors[known] if known.any() else survivors
        beliefs = Contenders.of(losses[survivors], criterion, self.cap, self.prior_dof)
        if beliefs is not None:
            verdict = self._report(survivors, beliefs, certified=False, note=self.spent)
            return replace(decision, train=(), n_awaited=0, verdict=verdict)
        values = np.asarray(criterion(losses[survivors]))
        leader = int(survivors[np.argsort(values, kind="stable")[0]])
        verdict = RuleVerdict(leader, tuple(survivors.tolist()), None, self.delta, False, self.spent)
        return replace(decision, train=(), n_awaited=0, verdict=verdict)
