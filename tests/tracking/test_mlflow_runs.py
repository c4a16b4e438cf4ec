"""MLflow runs by key: values at a step are written once, and corrected where they changed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from raysearch.tracking._mlflow_place import connect
from raysearch.tracking._mlflow_runs import Runs

KEY = ("0123456789ab", None)


def opened(uri: str, run_dir: Path) -> Runs:
    client, place, existed = connect(uri, "small", run_dir, 5.0)
    runs = Runs(client, place)
    if existed:
        runs.recall()
    runs.open(KEY, "one", {"kind": "configuration"}, 0)
    return runs


def points(runs: Runs, name: str) -> list[tuple[int, str, int]]:
    history = runs.client.get_metric_history(runs.run_id(KEY), name)
    return [(p.step, repr(p.value), p.timestamp) for p in sorted(history, key=lambda p: p.timestamp)]


@pytest.mark.parametrize("again", [False, True], ids=["one driver", "another driver"])
def test_a_step_is_corrected_whichever_of_its_values_changed(make_store: Any, tmp_path: Path, again: bool) -> None:
    uri = make_store(tmp_path)
    runs = opened(uri, tmp_path)
    runs.log_step(KEY, {"n_instances": 2.0, "criterion": math.inf}, 3, 100)
    if again:
        runs = opened(uri, tmp_path)
    for _ in range(2):
        runs.log_step(KEY, {"n_instances": 2.0, "criterion": 0.5}, 3, 200)
    assert points(runs, "n_instances") == [(3, "2.0", 100)]
    assert [(step, at) for step, _, at in points(runs, "criterion")] == [(3, 100), (3, 200)]
    assert runs.client.get_run(runs.run_id(KEY)).data.metrics["criterion"] == 0.5


def test_a_correction_shows_even_where_its_time_is_earlier(make_store: Any, tmp_path: Path) -> None:
    """As sync writes it, with the times of the journal."""
    uri = make_store(tmp_path)
    opened(uri, tmp_path).log_step(KEY, {"criterion": 0.9}, 1, 1000)
    for _ in range(2):
        runs = opened(uri, tmp_path)
        runs.log_step(KEY, {"criterion": 0.5}, 1, 100)
        assert points(runs, "criterion") == [(1, "0.9", 1000), (1, "0.5", 1001)]
        assert runs.client.get_run(runs.run_id(KEY)).data.metrics["criterion"] == 0.5
