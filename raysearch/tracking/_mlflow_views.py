"""Views of an experiment in MLflow's UI: a filter, an order and columns each, linked from the description.

MLflow keeps a shared view as an experiment tag that holds the page's state as JSON. An MLflow that does not know the
tag shows its plain table instead, so nothing depends on it but comfort.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

TAG = "mlflow.sharedViewState."
WIDTHS = {"attributes.`Run Name`": 310, "runDateAndNestInfo": 140, "attributes.`Duration`": 90}
STATISTICS = ("criterion", "criterion_low", "criterion_high", "n_instances", "median", "q3", "iqr", "max")


@dataclass(frozen=True)
class _View:
    """One view: its short name, the question it answers, which runs, in which order, with which columns."""

    name: str
    question: str
    filter: str
    order: str
    ascending: bool
    columns: tuple[str, ...]

    @property
    def state(self) -> str:
        """Return the state of MLflow's runs page."""
        content = {
            "searchFilter": self.filter,
            "orderByKey": self.order,
            "orderByAsc": self.ascending,
            "selectedColumns": list(self.columns),
            "columnOrder": [*WIDTHS, *self.columns],
            "columnWidths": {**WIDTHS, **dict.fromkeys(self.columns, 93)},
        }
        return json.dumps(content)


def _columns(metrics: tuple[str, ...], tags: tuple[str, ...], params: tuple[str, ...] = ()) -> tuple[str, ...]:
    groups = (("tags", tags), ("params", params), ("metrics", metrics))
    return tuple(f"{group}.`{name}`" for group, group_names in groups for name in group_names)


VIEWS = {
    "configurations": _View(
        "Configurations, best first",
        "Which configurations are robust?",
        "tags.kind = 'configuration'",
        "metrics.`criterion`",
        True,
        _columns(STATISTICS, ("status",)),
    ),
    "instances": _View(
        "Instances",
        "What does each instance say? Open a configuration with its +.",
        "",
        "attributes.start_time",
        False,
        _columns(("criterion", "n_instances", "final_loss", "test_loss"), ("status",), ("phase",)),
    ),
    "survivors": _View(
        "Survivors",
        "How do the survivors spread?",
        "tags.kind = 'configuration' AND tags.status != 'eliminated'",
        "metrics.`criterion`",
        True,
        _columns(STATISTICS, ("status",)),
    ),
    "eliminated": _View(
        "Eliminated",
        "Why was a configuration dropped? Its criterion was worse than the cutoff of its round.",
        "tags.status = 'eliminated'",
        "metrics.`round`",
        False,
        _columns(("round", "criterion_at_cut", "cutoff", "n_instances"), ()),
    ),
    "failed": _View(
        "Diverged and failed",
        "Which instances diverged or failed, and with which error?",
        "tags.kind = 'instance' AND tags.status != 'COMPLETE'",
        "attributes.start_time",
        False,
        _columns((), ("status", "error", "configuration"), ("seed",)),
    ),
    "search": _View(
        "Verdict and report",
        "What came out? `report.html` is among the run's artifacts.",
        "tags.kind = 'search'",
        "attributes.start_time",
        False,
        _columns(("race_criterion", "confirmation_criterion", "n_instances", "n_exhaustive"), ("winner",)),
    ),
}


def link(experiment_id: str, view: str) -> str:
    """Return the address of a view below the root of MLflow's UI."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={view}"


def tags() -> dict[str, str]:
    """Return the experiment's tags that make the views."""
    return {TAG + key: view.state for key, view in VIEWS.items()}


def note(experiment_id: str) -> str:
    """Return the description of an experiment: links first, since the UI shows one line of it, then what they are."""
    links = {key: f"[{view.name}]({link(experiment_id, key)})" for key, view in VIEWS.items()}
    rows = [f"| {links[key]} | {view.question} |" for key, view in VIEWS.items()]
    head = (
        "**raysearch**: one run per configuration, one nested run per instance (one training with its own seed), one"
        " `search` run with the verdict and the report."
    )
    return "\n".join([" · ".join(links.values()), "", head, "", "| view | question |", "|---|---|", *rows])
