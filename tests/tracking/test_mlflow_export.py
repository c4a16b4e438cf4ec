"""The registered model: loadable by name and version in another process, and no pickle in it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch import registry
from raysearch.records import Configuration, Model

LOAD = """
import mlflow, numpy, sys
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/small/1")
numpy.save(sys.argv[2], model.predict(numpy.load(sys.argv[3])))
"""


@pytest.fixture(scope="module")
def logged(make_race: Any, make_store: Any, tmp_path_factory: Any) -> dict[str, Any]:
    """A search whose winner is a really trained network on the digits."""
    from raysearch.tracking.mlflow import Mlflow

    section = {"name": "digits", "n_train": 100, "epochs": 1}
    workload = registry.load_section("workloads", section)
    configuration = Configuration.of({"hidden": [16], "optimizer": "AdamW", "lr": 0.01, "batch_size": 50})
    data = workload.prepare()
    result = workload.train(configuration, [7], lambda epoch, loss: None, data)[0]
    example = workload.example(data)
    prediction = workload.predict(configuration.parameters, result.weights, example)
    model = Model(result.key, section, configuration.parameters, result.weights, example, prediction)
    folder = tmp_path_factory.mktemp("model")
    uri = make_store(folder)
    tracker = Mlflow(uri=uri)
    make_race(n=2, confirm=1).run(tracker, folder, model)
    assert tracker.n_lost == 0
    return {"uri": uri, "folder": folder, "model": model, "make_race": make_race}


@pytest.mark.long
def test_another_process_loads_it_by_name_and_version(logged: dict[str, Any]) -> None:
    folder, model = logged["folder"], logged["model"]
    np.save(folder / "in.npy", model.example)
    command = [sys.executable, "-c", LOAD, logged["uri"], str(folder / "out.npy"), str(folder / "in.npy")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "mismatch" not in done.stderr, "the named requirements are what is installed"
    np.testing.assert_allclose(np.load(folder / "out.npy"), model.prediction, rtol=1e-6)


def test_it_has_signature_example_and_requirements_and_no_pickle(logged: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(logged["uri"])
    version = client.get_model_version("small", "1")
    assert version.tags == {"configuration": logged["model"].key.configuration_id, "seed": "7"}
    from mlflow.artifacts import download_artifacts

    root = Path(download_artifacts(client.get_model_version_download_uri("small", "1"), tracking_uri=logged["uri"]))
    names = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert {"MLmodel", "input_example.json", "artifacts/weights.safetensors", "artifacts/recipe.json"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth"))]
    assert "_mlflow_model.py" in names
    description = (root / "MLmodel").read_text()
    assert "tensor-spec" in description
    assert "float32" in description
    assert any(line.startswith("raysearch==") for line in (root / "requirements.txt").read_text().splitlines())


def test_the_search_run_names_the_model_and_logs_it_once(logged: dict[str, Any]) -> None:
    from mlflow import MlflowClient

    from raysearch.tracking.mlflow import Mlflow

    logged["make_race"](n=2, confirm=1).run(Mlflow(uri=logged["uri"]), logged["folder"], logged["model"])
    client = MlflowClient(logged["uri"])
    assert len(client.search_model_versions("name = 'small'")) == 1
    experiment = client.get_experiment_by_name("small").experiment_id
    run = client.search_runs([experiment], "tags.kind = 'search'")[0]
    assert run.data.tags["registered_model"] == "models:/small/1"
    assert len(run.outputs.model_outputs) == 1


def test_a_model_need_not_be_registered(logged: dict[str, Any], make_store: Any, tmp_path: Path) -> None:
    from mlflow import MlflowClient

    from raysearch.tracking.mlflow import Mlflow

    uri = make_store(tmp_path)
    logged["make_race"](n=2, confirm=1).run(Mlflow(uri=uri, register=""), tmp_path, logged["model"])
    client = MlflowClient(uri)
    assert client.search_registered_models() == []
    experiment = client.get_experiment_by_name("small").experiment_id
    assert len(client.search_logged_models([experiment])) == 1
