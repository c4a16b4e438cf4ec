"""Measures of an experiment: which are asked for, of whom, and on the workers or at the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raysearch import registry
from raysearch.criteria.objectives import Objective
from raysearch.errors import ExperimentError, unknown
from raysearch.workloads import Measurable, Workload
from raysearch.workloads._measured import Measured

Section = str | dict[str, Any]
OF = ("winner", "survivors", "all")


@dataclass(frozen=True)
class Asked:
    """One measure of an experiment, and of whom: the winner, the survivors or all configurations."""

    name: str
    measure: Any
    of: str

    @property
    def on_workers(self) -> bool:
        """Whether every instance is measured where it was trained."""
        return self.of == "all" and self.measure.over == "instance"


def asked(sections: Sequence[Section]) -> list[Asked]:
    """Return the measures that sections name: `curvature`, or `{name: curvature, n_examples: 256, of: survivors}`.

    `of` is `winner` unless given. Raises ExperimentError for what is unknown, or named twice.
    """
    found: list[Asked] = []
    for section in sections:
        values = {"name": section} if isinstance(section, str) else dict(section)
        of = values.pop("of", "winner")
        if of not in OF:
            raise unknown("group of configurations (`of` in measures)", of, OF)
        measure = registry.load_section("measures", values)
        if values["name"] in [one.name for one in found]:
            raise ExperimentError(f"measures: {values['name']!r} is named twice")
        found.append(Asked(values["name"], measure, of))
    return found


def instrumented(
    workload: Workload, measures: Sequence[Asked], criterion: Objective, objectives: Sequence[Objective] = ()
) -> Workload:
    """Return the workload, wrapped where its instances are to be measured on the workers.

    Raises ExperimentError where measures are asked of a workload that cannot be measured, or one with two settings.
    """
    on_workers = {one.name: one.measure for one in measures if one.on_workers}
    for objective in (criterion, *objectives):
        for name, measure in objective.measures.items():
            if on_workers.setdefault(name, measure) != measure:
                raise ExperimentError(f"{name} is asked for with different parameters; an instance is measured once")
    if (measures or on_workers) and not isinstance(workload, Measurable):
        able = [name for name, cls in registry.usable("workloads").items() if issubclass(cls, Measurable)]
        raise ExperimentError(
            f"{type(workload).__name__} has no `load_for_evaluation` method and cannot be measured; these can: "
            f"{', '.join(able)}"
        )
    beside = tuple(objective.metric for objective in objectives if objective.metric is not None)
    if criterion.metric is None and not beside and not on_workers:
        return workload
    return Measured(workload, on_workers, criterion.metric, beside)
