"""What an MLflow store holds, as plain values to compare; and fresh stores that cost no seconds."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("search", "configuration", "instance")


def stores(folder: Path) -> Callable[..., str]:
    """Return what puts a fresh store into a folder: MLflow takes seconds to make one, copying it takes none."""
    from mlflow import MlflowClient

    empty = folder / "mlflow.db"
    MlflowClient(f"sqlite:///{empty}").search_experiments()

    def make(folder: Path, name: str = "mlflow.db") -> str:
        shutil.copy(empty, folder / name)
        return f"sqlite:///{folder / name}"

    return make


def image(uri: str, experiment: str, *, with_ids: bool) -> dict[Any, Any]:
    """All that MLflow holds of a search, by (configuration, seed); `with_ids` tells also when and under which id."""
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    held: dict[Any, Any] = {}
    for held_run in client.search_runs([found.experiment_id], max_results=5000):
        tags = {name: value for name, value in held_run.data.tags.items() if not name.startswith("mlflow.")}
        key = tags.get("raysearch.configuration", ""), tags.get("raysearch.seed", "")
        assert key not in held, f"two runs of {key}"
        points = {
            name: [(p.step, _plain(p.value), *([p.timestamp] if with_ids else [])) for p in history]
            for name in held_run.data.metrics
            if (history := sorted(client.get_metric_history(held_run.info.run_id, name), key=lambda p: p.step))
        }
        files = sorted(file.path for file in client.list_artifacts(held_run.info.run_id))
        held[key] = {"status": held_run.info.status, "params": held_run.data.params, "points": points, "files": files}
        if with_ids:
            held[key] |= {"tags": held_run.data.tags, "info": dict(held_run.info)}
        else:
            held[key]["points"].pop("seconds", None)
            held[key]["tags"] = {name: value for name, value in tags.items() if name != "raysearch.model"}
    return held


def _plain(value: float) -> float | str:
    return "nan" if math.isnan(value) else value


def client_of(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{folder}/mlflow.db")


def runs_of(folder: Path, experiment: str = "small") -> dict[str, Any]:
    client = client_of(folder)
    found = client.get_experiment_by_name(experiment)
    runs = client.search_runs([found.experiment_id], max_results=5000)
    by_kind = {kind: [run for run in runs if run.data.tags["kind"] == kind] for kind in KINDS}
    return {**by_kind, "client": client, "experiment": found}
