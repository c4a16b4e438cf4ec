"""Views of an experiment in MLflow's UI: a filter, an order and columns each, linked from the description.

MLflow keeps a shared view as an experiment tag that holds the page's state as JSON. An MLflow that does not know the
tag shows its plain table instead, so nothing depends on it but comfort.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

TAG = "mlflow.sharedViewState."
STATISTICS = ("criterion", "median", "q3", "iqr", "max", "n_instances")


@dataclass(frozen=True)
class _View:
    """One view: the question it answers, which runs, in which order, with which columns."""

    question: str
    filter: str
    order: str
    ascending: bool
    columns: tuple[str, ...]

    def state(self, expanded: Mapping[str, bool]) -> str:
        """Return the state of MLflow's runs page."""
        content = {
            "searchFilter": self.filter,
            "orderByKey": self.order,
            "orderByAsc": self.ascending,
            "selectedColumns": list(self.columns),
            "runsExpanded": dict(expanded),
        }
        return json.dumps(content)


def _columns(metrics: tuple[str, ...], tags: tuple[str, ...], params: tuple[str, ...] = ()) -> tuple[str, ...]:
    groups = (("metrics", metrics), ("params", params), ("tags", tags))
    return tuple(f"{group}.`{name}`" for group, group_names in groups for name in group_names)


VIEWS = {
    "configurations": _View(
        "Which configurations are robust? Best first",
        "tags.kind = 'configuration'",
        "metrics.`criterion`",
        True,
        _columns(STATISTICS, ("status",)),
    ),
    "instances": _View(
        "What does each instance say? Open a configuration with its +",
        "",
        "attributes.start_time",
        False,
        _columns(("criterion", "n_instances", "final_loss", "test_loss"), ("status",), ("seed", "phase")),
    ),
    "survivors": _View(
        "How do the survivors spread?",
        "tags.kind = 'configuration' AND tags.status != 'eliminated'",
        "metrics.`criterion`",
        True,
        _columns(STATISTICS, ("status",)),
    ),
    "eliminated": _View(
        "Why was a configuration dropped? Its criterion was worse than the cutoff of its round",
        "tags.status = 'eliminated'",
        "metrics.`round`",
        False,
        _columns(("round", "criterion_at_cut", "cutoff", "n_instances"), ()),
    ),
    "failed": _View(
        "Which instances diverged or failed?",
        "tags.kind = 'instance' AND tags.status != 'COMPLETE'",
        "attributes.start_time",
        False,
        _columns((), ("status", "error", "configuration"), ("seed",)),
    ),
    "search": _View(
        "The verdict, and `report.html` under Artifacts",
        "tags.kind = 'search'",
        "attributes.start_time",
        False,
        _columns(("race_criterion", "confirmation_criterion", "n_instances", "n_exhaustive"), ("winner",)),
    ),
}


def link(experiment_id: str, view: str) -> str:
    """Return the address of a view below the root of MLflow's UI."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}"


def tags(expanded: Mapping[str, bool] | None = None) -> dict[str, str]:
    """Return the tags that make the views; `expanded` are parent runs shown with their children."""
    return {TAG + name: view.state(expanded or {}) for name, view in VIEWS.items()}


def note(experiment_id: str) -> str:
    """Return the description of an experiment: what a run is, and a link for every question."""
    lines = [f"- [{view.question}]({link(experiment_id, name)})" for name, view in VIEWS.items()]
    head = (
        "**raysearch**: one run per configuration, one nested run per instance (one training with its own seed),"
        " one `search` run with the verdict and the report.\n\n"
    )
    return head + "\n".join(lines)
