"""Every configuration's run in MLflow says how sure its criterion is, by the instances that are below it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from mlflow_image import runs_of
from people import Person

from raysearch import registry
from raysearch.criteria.intervals import bounds
from raysearch.driver.run import run
from raysearch.execution import steering
from raysearch.experiment.experiment import from_data
from raysearch.records import Configuration, InstanceResult, Phase, TrialRequest
from raysearch.tracking.abilities import ShowsIntervals
from raysearch.tracking.mlflow import Mlflow
from raysearch.tracking.several import Trackers
from raysearch.tracking.silent import Silent

RULES: list[Any] = [
    {"name": "halving", "warmup": 3},
    {"name": "exhaustive", "n_instances": 4},
    {"name": "significance", "warmup": 3, "max_instances": 6},
    "top_two",
]


class Late(Person):
    """Drops a configuration of which two instances have ended."""

    def started(self, request: TrialRequest) -> None:
        pass

    def told(self, configuration: Configuration, result: InstanceResult, phase: Phase) -> None:
        self.seen = [*getattr(self, "seen", []), configuration.id]
        if self.seen.count(configuration.id) == 2:
            super().started(TrialRequest(configuration, (result.key.seed,), phase))


def as_shown(ends: tuple[float, float] | None) -> list[float]:
    return [] if ends is None else [end if math.isfinite(end) else math.nan for end in ends]


@pytest.mark.parametrize("rule", RULES, ids=["halving", "exhaustive", "significance", "top_two"])
def test_every_parent_has_the_interval_of_its_own_instances(
    rule: Any, tmp_path: Path, make_store: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steering, "_LOOK_EVERY_S", 0.0)
    experiment = {
        "name": "small",
        "seed": 3,
        "workload": {"name": "synthetic", "epochs": 2},
        "space": {"level": [0.2, 0.3, 0.4], "spread": [0.02, 0.05], "diverging": [0.0, 0.3]},
        "criterion": "q3",
        "rule": rule,
        "race": {"confirm": 6, "retries": 0},
        "tracking": {"name": "mlflow", "uri": make_store(tmp_path), "weights": "none"},
        "execution": "local",
    }
    result = run(from_data(experiment), tmp_path / "run", watchers=[Late("drop")])
    held, q3, n_known = runs_of(tmp_path), registry.load("criteria", "q3"), 0
    for parent in held["configuration"]:
        shown, id_ = parent.data.metrics, parent.data.tags["configuration"]
        children = [one for one in held["instance"] if one.data.tags["configuration"] == id_]
        losses = {"race": [], "confirmation": []}  # type: dict[str, list[float]]
        for one in sorted(children, key=lambda one: one.info.end_time):
            loss = one.data.metrics["final_loss"]
            losses[one.data.params["phase"]].append(math.inf if math.isnan(loss) else loss)
        seen = losses["race"][: int(shown.get("n_instances", 0))]
        wanted = as_shown(bounds(seen, q3))
        assert [shown[name] for name in ("criterion_low", "criterion_high") if name in shown] == pytest.approx(
            wanted, nan_ok=True
        )
        n_known += len(seen) > 1
        if id_ == result.verdict.winner.id:
            assert [shown["confirmation_low"], shown["confirmation_high"]] == pytest.approx(result.interval)
            assert as_shown(bounds(losses["confirmation"], q3)) == pytest.approx(result.interval)
    assert n_known > 5
    [dropped] = [one.data for one in held["configuration"] if "dropped" in one.data.tags]
    assert dropped.metrics["n_instances"] >= 2


def test_nobody_pays_for_intervals_that_no_tracker_shows(tmp_path: Path) -> None:
    for trackers, shows in (([Silent()], False), ([Silent(), Mlflow()], True), ([Trackers([Mlflow()])], True)):
        several = Trackers(trackers)
        assert isinstance(several, ShowsIntervals)
        assert several.shows_intervals is shows
