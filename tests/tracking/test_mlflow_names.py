"""Names of a user's metrics and parameters that MLflow would refuse, or that are ours: nothing of them is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from mlflow_image import runs_of

from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase
from raysearch.tracking._mlflow_text import fitted, flat
from raysearch.tracking.mlflow import Mlflow

ODD = ("acc@5", "acc#5", "µ/σ", "a//b", "../up", "/root", ".", "", "x" * 300, "epochs", "loss", "seconds", "fine")


def test_names_that_fit_stay_and_others_become_different_ones_that_do() -> None:
    assert fitted(["lr", "a/b", "acc@5", "acc_5"]) == {"lr": "lr", "a/b": "a/b", "acc@5": "acc_5_2", "acc_5": "acc_5"}
    assert fitted(["epochs"], taken=["epochs"]) == {"epochs": "epochs_2"}
    fits = fitted(ODD)
    assert len(set(fits.values())) == len(ODD)
    from mlflow.utils.validation import _validate_metric_name, _validate_param_name

    for fit in fits.values():
        assert len(fit) <= 250
        _validate_metric_name(fit)
        _validate_param_name(fit)
    assert flat({"a": {"b": 1}, "a.b": 2}) == {"a.b": "2"} or len(flat({"a": {"b": 1}, "a.b": 2})) == 2


def written(tmp_path: Path, uri: str, parameters: dict[str, Any], metrics: dict[str, float]) -> Any:
    configuration, tracker = Configuration.of(parameters), Mlflow(uri=uri)
    tracker.open({"name": "small"}, tmp_path)
    key = InstanceKey(configuration.id, 7)
    result = InstanceResult.of(key, 0.5, curve=(0.7, 0.5), node="10.0.0.1", metrics=metrics)
    tracker.told(configuration, result, Phase.RACE)
    tracker.measured(configuration, 7, {f"m.{name}": value for name, value in metrics.items()})
    tracker.close()
    assert tracker.n_lost == 0
    (instance,), (parent,) = runs_of(tmp_path)["instance"], runs_of(tmp_path)["configuration"]
    return instance, parent


@pytest.mark.timeout(60)  # each refused record was tried three times
def test_metrics_of_odd_names_are_all_there_with_their_names(tmp_path: Path, make_store: Any) -> None:
    told = {name: float(i) for i, name in enumerate(ODD)}
    instance, _ = written(tmp_path, make_store(tmp_path), {"x": 1}, told)
    assert instance.info.status == "FINISHED"
    original = {name: instance.data.tags.get(f"raysearch.name.{name}", name) for name in instance.data.metrics}
    shown = {original[name]: value for name, value in instance.data.metrics.items() if name != "final_loss"}
    for name, value in told.items():
        if name not in ("epochs", "loss", "seconds"):
            assert shown[name[:5000]] == value, name
    assert instance.data.metrics["acc_5"] != instance.data.metrics["acc_5_2"]
    ours = instance.data.metrics
    assert (ours["loss"], ours["epochs"], ours["final_loss"]) == (0.5, 2.0, 0.5)
    assert (ours["loss_2"], ours["epochs_2"]) == (told["loss"], told["epochs"])


def test_parameters_of_our_names_keep_their_values(tmp_path: Path, make_store: Any) -> None:
    theirs = {"node": "leaf", "phase": 3, "configuration": "wide", "seed_": 1, "kernel@": 5}
    for run in written(tmp_path, make_store(tmp_path), theirs, {}):
        assert {name: run.data.params[name] for name in ("node", "phase", "configuration")} == {
            "node": "leaf",
            "phase": "3",
            "configuration": "wide",
        }
        assert run.data.params["kernel_"] == "5"
        assert run.data.tags["raysearch.name.kernel_"] == "kernel@"
        assert run.data.tags["configuration"] == Configuration.of(theirs).id
    instance, _ = written(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", theirs, {})
    assert instance.data.tags["raysearch.phase"] == "race"
    assert instance.data.tags["raysearch.node"] == "10.0.0.1"
    assert instance.data.tags["raysearch.seed"] == "7"
