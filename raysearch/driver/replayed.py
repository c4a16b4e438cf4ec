"""The race of an experiment for whoever only looks: a journal is replayed into it, and it asks for nothing."""

from __future__ import annotations

from raysearch.experiment.experiment import Experiment
from raysearch.race.race import Race


def race_to_replay(experiment: Experiment) -> Race:
    """Return a new race that proposes nothing and writes no journal."""
    return Race(
        lambda outcomes: [],
        experiment.load("criterion"),
        experiment.load("rule"),
        seed=experiment.seed,
        confirm=experiment.race.confirm,
        finalists=experiment.race.finalists,
        n_configurations=experiment.n_configurations,
    )
