"""Objectives: what a search minimises, a statistic of the instances' losses or of another number that they tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raysearch import registry
from raysearch.criteria import Criterion
from raysearch.errors import ExperimentError
from raysearch.records import Outcome

Section = str | dict[str, Any]
TASK_LOSS = "task_loss"
"""The metric that holds the workload's own loss where a measure has taken its place."""
RACED = ""
_EPOCHS = "local_instability"


@dataclass(frozen=True)
class Objective:
    """A criterion and what it is a statistic of: the workload's loss, what the race judges (RACED), or a metric.

    `measures` are those by name that instances must be measured with, on the workers, to have the metric.
    """

    label: str
    criterion: Criterion
    metric: str | None = None
    measures: Mapping[str, Any] = field(default_factory=dict)

    def value(self, outcome: Outcome) -> float:
        """Return the criterion over an outcome's instances; raises ValueError where it has none.

        An instance that lacks the metric, because it diverged or failed, counts as +inf.
        """
        if self.metric is None:  # where a measure has taken its place, the loss is a metric
            numbers = outcome.metrics.get(TASK_LOSS, outcome.losses)
        elif self.metric == RACED:
            numbers = outcome.losses
        else:
            numbers = outcome.metrics.get(self.metric, (np.inf,) * len(outcome.losses))
        if not numbers:
            raise ValueError(f"configuration {outcome.configuration.id} has no finished instance")
        return float(self.criterion(np.asarray(numbers, dtype=np.float64)))


def parse(section: Section) -> Objective:
    """Return the objective of a criterion's section, e.g. `q3` or `{name: q3, of: noise_resilience}`.

    `of` names what the criterion is a statistic of in place of the loss:
    a measure, by its main number: `noise_resilience`, or `{name: noise_resilience, sigma: 0.2}` with parameters;
    `local_instability`: that of an instance over its last epochs, which every torch workload reports;
    `{metric: latency_s}`: a number that the workload itself reports beside the loss.

    Raises ExperimentError for what is unknown, or tells nothing of one instance.
    """
    values = {"name": section} if isinstance(section, str) else dict(section)
    of = values.pop("of", None)
    criterion, called = registry.load_section("criteria", values), label(section)
    if of is None:
        return Objective(called, criterion)
    if isinstance(of, dict) and "metric" in of:
        if len(of) > 1 or not isinstance(of["metric"], str):
            raise ExperimentError(f"criterion: `of: {{metric: NAME}}` takes one name and nothing else, got {of}")
        return Objective(called, criterion, of["metric"])
    name = of if isinstance(of, str) else str(of.get("name") if isinstance(of, dict) else of)
    if name == _EPOCHS:
        return Objective(called, criterion, "epoch_instability")
    measure = registry.load_section("measures", of)
    if measure.over != "instance":
        raise ExperimentError(f"criterion: {name} is no measure of one instance and cannot steer a search")
    return Objective(called, criterion, f"{name}.{measure.main}", {name: measure})


def parse_all(sections: Sequence[Section]) -> tuple[Objective, ...]:
    """Return several objectives; raises ExperimentError where two are the same."""
    found = tuple(parse(section) for section in sections)
    labels = [objective.label for objective in found]
    for one in labels:
        if labels.count(one) > 1:
            raise ExperimentError(f"objectives: {one!r} is named twice")
    return found


def label(section: Section) -> str:
    """Return a section as people read it: `q3`, `quantile(q=0.9)`, `q3 of noise_resilience`."""
    if isinstance(section, str):
        return section
    rest = ", ".join(f"{name}={_plain(value)}" for name, value in section.items() if name not in ("name", "of"))
    called = f"{section['name']}({rest})" if rest else str(section["name"])
    return f"{called} of {_plain(section['of'])}" if section.get("of") is not None else called


def _plain(value: Any) -> str:
    if isinstance(value, dict) and "metric" in value:
        return str(value["metric"])
    return label(value) if isinstance(value, dict) and "name" in value else str(value)
