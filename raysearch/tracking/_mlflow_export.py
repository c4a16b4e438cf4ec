"""Log one trained instance as an MLflow model and register it, without touching MLflow's global state."""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
import warnings
from pathlib import Path

from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.exceptions import MlflowException
from mlflow.models import Model as MlflowModel
from mlflow.models import infer_signature

from raysearch.records import Model
from raysearch.tracking._mlflow_place import quiet
from raysearch.tracking._mlflow_reader import SEARCH
from raysearch.tracking._mlflow_runs import Runs

with warnings.catch_warnings():  # MLflow warns of type hints of its own while it is imported
    warnings.simplefilter("ignore")
    import mlflow.pyfunc

CODE = Path(__file__).with_name("_mlflow_model.py")
NEEDED = ("raysearch", "mlflow", "numpy", "safetensors", "torch")


def export(runs: Runs, model: Model, register: str) -> None:
    """Log `model` under the search run and register it as `register` (nothing if empty); done once per instance."""
    mark = f"{model.key.configuration_id}/{model.key.seed}"
    if runs.tags(SEARCH).get("raysearch.model") == mark:
        return
    run_id = runs.run_id(SEARCH)
    logged = runs.client.create_logged_model(
        runs.place.experiment_id,
        name="winner",
        source_run_id=run_id,
        params={"configuration": model.key.configuration_id, "seed": str(model.key.seed)},
        model_type="raysearch",
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model")
        with quiet():
            save(model, path, MlflowModel(logged.artifact_location, run_id, model_id=logged.model_id))
        runs.client.log_model_artifacts(logged.model_id, str(path))
    runs.client.finalize_logged_model(logged.model_id, "READY")
    runs.client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, step=0)])
    tags = {"raysearch.model": mark}
    if register:
        with quiet():
            version = _register(runs, register, logged, model)
        tags["registered_model"] = f"models:/{register}/{version}"
    runs.log(SEARCH, tags=tags)


def save(model: Model, path: Path, description: MlflowModel | None = None) -> None:
    """Write `model` as an MLflow model directory: weights, recipe, code, signature and input example."""
    with tempfile.TemporaryDirectory() as folder:
        weights, recipe = Path(folder, "weights.safetensors"), Path(folder, "recipe.json")
        weights.write_bytes(model.weights)
        content = {"workload": dict(model.workload), "parameters": dict(model.parameters)}
        recipe.write_text(json.dumps(content, indent=2), encoding="utf-8")
        mlflow.pyfunc.save_model(
            path,
            python_model=str(CODE),
            artifacts={"weights": str(weights), "recipe": str(recipe)},
            signature=None if model.example is None else infer_signature(model.example, model.prediction),
            input_example=model.example,
            # named here, so that MLflow does not load the model in a fresh process to find out
            pip_requirements=[f"{name}=={_version(name)}" for name in NEEDED if _version(name)],
            mlflow_model=description,
        )


def _register(runs: Runs, name: str, logged: LoggedModel, model: Model) -> str:
    """Return the number of the new version of registered model `name`."""
    try:
        runs.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    tags = {"configuration": model.key.configuration_id, "seed": str(model.key.seed)}
    # a database client would look models:/ID up in MLflow's global store, which is not ours to set
    remote = runs.place.uri.startswith("http")
    source = f"models:/{logged.model_id}" if remote else logged.artifact_location
    version = runs.client.create_model_version(name, source, runs.run_id(SEARCH), tags=tags, model_id=logged.model_id)
    return str(version.version)


def _version(name: str) -> str:
    """Return the installed version without its local part (`2.13.0+cpu` is no index's name), "" if there is none."""
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return ""
