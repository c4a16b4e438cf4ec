"""Sampler `tpe`: Optuna chooses which configurations race, guided by the robust criterion."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import optuna
from annotated_types import Ge
from optuna.distributions import BaseDistribution
from optuna.trial import TrialState

from raysearch.criteria import Criterion
from raysearch.criteria.objectives import RACED, Objective, parse_all
from raysearch.errors import ExperimentError, unknown
from raysearch.records import Configuration, Outcome
from raysearch.registry import Validated
from raysearch.samplers import Propose
from raysearch.samplers._distributions import distribution, highest, within
from raysearch.samplers.search_space import Choice, Parameter, Space
from raysearch.samplers.space_function import FunctionSpace

_TRIES_PER_CONFIGURATION = 100


@dataclass(frozen=True)
class Tpe(Validated):
    """Waves of configurations proposed by Optuna; each wave races together with the leader so far.

    Eliminated configurations are told as pruned, with the criterion by number of instances; the others with their
    value; diverged ones as bad as can be, not dropped. The study is rebuilt from the outcomes for every wave, so that
    a resumed search proposes what it would have proposed.

    Args:
        n_configurations: of all waves together, at least 1.
        wave: configurations per wave, at least 1; the first is random.
        algorithm: a sampler of Optuna: TPESampler, GPSampler, QMCSampler ... but none with a state of its own.
        objectives: criteria to be weighed against each other, e.g. [median, iqr], or with a measure or a metric of the
            workload, [median, {name: q3, of: noise_resilience}]; none is the race's criterion alone.

    Raises ValueError for numbers below 1, ExperimentError for an algorithm that Optuna has not.
    Source: Bergstra et al. 2011; Optuna's multivariate TPE with constant liar.
    """

    n_configurations: Annotated[int, Ge(1)] = 64
    wave: Annotated[int, Ge(1)] = 16
    algorithm: str = "TPESampler"
    objectives: tuple[str | dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        """Refuse unknown algorithms and objectives."""
        super().__post_init__()
        known = [name for name in optuna.samplers.__all__ if name.endswith("Sampler") and name not in _UNFIT]
        if self.algorithm in _FORGETFUL:
            raise ExperimentError(
                f"{self.algorithm} keeps a state of its own from trial to trial, which a search rebuilt from its "
                "journal does not have: it would be random search. TPESampler and GPSampler take several objectives too"
            )
        if self.algorithm not in known:
            raise unknown("algorithm of Optuna", self.algorithm, known)
        object.__setattr__(self, "objectives", tuple(self.objectives))
        parse_all(self.objectives)

    def bind(self, space: Space | FunctionSpace, seed: int, criterion: Criterion | None = None) -> Propose:
        """Return the proposal; raises ValueError without a criterion."""
        if criterion is None:
            raise ValueError("tpe needs the criterion that it is to be guided by")
        return self.bind_taught(space, seed, criterion, (), ())

    def bind_taught(
        self,
        space: Space | FunctionSpace,
        seed: int,
        criterion: Criterion,
        taught: Sequence[Outcome],
        at_first: Sequence[Outcome],
    ) -> Propose:
        """Return the proposal of who knows outcomes `taught` by earlier searches, and others `at_first` only."""
        objectives = parse_all(self.objectives) or (Objective("criterion", criterion, RACED),)
        known = [one for one in taught if _tells(one, objectives)]
        early = [one for one in at_first if _tells(one, objectives)]

        def propose(outcomes: Sequence[Outcome]) -> list[Configuration]:
            n = min(self.wave, self.n_configurations - len(outcomes))
            if n <= 0:
                return []
            told = [*known, *(outcomes or early)]
            return self._ask(space, self._study(space, seed, objectives, told, len(outcomes)), outcomes, n)

        return propose

    def _study(
        self,
        space: Space | FunctionSpace,
        seed: int,
        objectives: Sequence[Objective],
        outcomes: Sequence[Outcome],
        n_own: int,
    ) -> optuna.Study:
        """Return a study that has been told every outcome so far, `n_own` of them of this search."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        root = np.random.SeedSequence(seed, spawn_key=(2, n_own))
        arguments: dict[str, Any] = {"seed": int(root.generate_state(1)[0])}
        if self.algorithm == "TPESampler":
            arguments |= {"multivariate": True, "group": True, "constant_liar": True}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = getattr(optuna.samplers, self.algorithm)(**arguments)
        study = optuna.create_study(directions=["minimize"] * len(objectives), sampler=sampler)
        for outcome in outcomes:
            study.add_trial(_told(space, objectives, outcome))
        return study

    def _ask(
        self, space: Space | FunctionSpace, study: optuna.Study, outcomes: Sequence[Outcome], n: int
    ) -> list[Configuration]:
        known = {outcome.configuration.id for outcome in outcomes}
        new: dict[str, Configuration] = {}
        for _ in range(_TRIES_PER_CONFIGURATION * n):
            trial = study.ask()
            parameters = _suggest(space, trial)
            configuration = Configuration.of(parameters)
            if configuration.id in known or configuration.id in new or not space.valid(parameters):
                study.tell(trial, state=TrialState.FAIL)  # Optuna learns nothing from it, and draws anew
                continue
            new[configuration.id] = configuration
            if len(new) == n:
                break
        if not new and not outcomes:
            raise ExperimentError(
                f"no valid configuration among {_TRIES_PER_CONFIGURATION * n} proposals: relax the constraints"
            )
        return list(new.values())


_UNFIT = ("BaseSampler", "BaseGASampler", "GridSampler", "PartialFixedSampler", "BruteForceSampler")
_FORGETFUL = ("NSGAIISampler", "NSGAIIISampler", "CmaEsSampler")
"""They keep generations or a distribution in the trials they made; a study rebuilt from outcomes has none of it."""


def _told(space: Space | FunctionSpace, objectives: Sequence[Objective], outcome: Outcome) -> optuna.trial.FrozenTrial:
    """Return an outcome as Optuna's trial."""
    parameters = dict(outcome.configuration.parameters)
    encoded, distributions = _as_optuna_keeps_them(space, parameters)
    if not outcome.losses:  # screened out: as bad as can be, not dropped
        state = TrialState.PRUNED if outcome.eliminated and len(objectives) == 1 else TrialState.FAIL
        return optuna.trial.create_trial(state=state, params=encoded, distributions=distributions)
    values = [_finite(objective.value(outcome)) for objective in objectives]
    if outcome.eliminated and len(objectives) == 1:
        losses = np.asarray(outcome.losses, dtype=np.float64)
        steps = {n: _finite(objectives[0].criterion(losses[:n])) for n in range(1, len(losses) + 1)}
        return optuna.trial.create_trial(
            state=TrialState.PRUNED, params=encoded, distributions=distributions, intermediate_values=steps
        )
    return optuna.trial.create_trial(values=values, params=encoded, distributions=distributions)


def _tells(outcome: Outcome, objectives: Sequence[Objective]) -> bool:
    """Return whether an outcome of another search has what the objectives are about."""
    return all(one.metric in (None, RACED) or one.metric in outcome.metrics for one in objectives)


def _as_optuna_keeps_them(
    space: Space | FunctionSpace, parameters: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, BaseDistribution]]:
    """Return the parameters of a configuration, and the distributions they come from, in Optuna's form."""
    encoded: dict[str, Any] = {}
    distributions: dict[str, BaseDistribution] = {}

    def take(name: str, parameter: Parameter) -> Any:
        if name not in parameters:
            raise ExperimentError(
                f"a configuration of this search has no such parameter, but {', '.join(parameters)}: this is not the "
                "function that the search was started with"
            )
        encoded[name], distributions[name] = _encoded(parameter, parameters[name]), distribution(parameter, _choices)
        return parameters[name]

    if isinstance(space, FunctionSpace):
        space.ask(take)
    else:
        for name in parameters:
            if name in space.parameters:
                take(name, space.parameters[name])
    return encoded, distributions


def _finite(value: Any) -> float:
    """Return a criterion as Optuna takes it: a diverged one is worse than any loss, and no infinity."""
    return float(np.nan_to_num(float(value), nan=1e300, posinf=1e300))


def _suggest(space: Space | FunctionSpace, trial: optuna.Trial) -> dict[str, Any]:
    """Return the parameters of a trial, asking only for those whose conditions hold."""
    if isinstance(space, FunctionSpace):
        return space.ask(lambda name, parameter: _suggested(name, parameter, trial))
    chosen: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if all(other in chosen and chosen[other] in allowed for other, allowed in parameter.when.items()):
            chosen[name] = _suggested(name, parameter, trial)
    return chosen


def _suggested(name: str, parameter: Parameter, trial: optuna.Trial) -> Any:
    """Return what Optuna proposes for a parameter."""
    if isinstance(parameter, Choice):
        choices = _choices(parameter)
        return parameter.values[choices.index(trial.suggest_categorical(name, choices))]
    if parameter.integer:
        step = int(parameter.step or 1)
        return trial.suggest_int(name, int(parameter.low), int(highest(parameter)), step=step, log=parameter.log)
    value = trial.suggest_float(name, parameter.low, highest(parameter), step=parameter.step, log=parameter.log)
    return within(parameter, float(f"{value:.12g}"))


def _choices(parameter: Choice) -> list[str]:
    """Return the values as text: Optuna's categories cannot be lists."""
    return [json.dumps(value, sort_keys=True) for value in parameter.values]


def _encoded(parameter: Parameter, value: Any) -> Any:
    if isinstance(parameter, Choice):
        text = json.dumps(value, sort_keys=True)
        if text not in _choices(parameter):
            raise ExperimentError(f"a configuration of this search has {value!r:.80}, none of {list(parameter.values)}")
        return text
    return value if parameter.integer else within(parameter, value)
