"""Faults on real processes: none loses an instance, none changes a decision."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import command, shell
from faults import apart, memory_monitored, monitor_settings, node_removed, small_disk, strike
from killing import EXPERIMENT, count, facts
from waiting import wait_for

from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.errors import JournalError, WorkloadError
from raysearch.execution import ray_controller
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read

ON_RAY = {"name": "ray_tune", "local_cpus": 2}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    run(from_data({**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4}}), run_dir)
    return facts(run_dir)


def failures(run_dir: Path) -> list[str]:
    return [event["error"] for event in read(run_dir / "journal.jsonl") if event["event"] == "failure"]


def test_a_killed_worker_and_one_out_of_memory(ray_cluster: None, undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    for how, word in (("kill", "died"), ("memory", "MemoryError")):
        counted = strike(tmp_path / how, how)
        assert facts(tmp_path / how / "run") == undisturbed
        assert counted["lost"] == 0
        assert counted["faults"] == counted["trained twice"] > 0
        assert all(word in error for error in failures(tmp_path / how / "run"))


def test_a_worker_that_holds_the_interpreter_is_ended_by_the_driver(
    ray_cluster: None, undisturbed: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_controller, "GRACE_S", 3.0)
    counted = strike(tmp_path, "hold", fail=0.02, timeout_s=2.0)
    assert facts(tmp_path / "run") == undisturbed
    assert counted["lost"] == 0
    assert counted["faults"] == counted["trained twice"] == 1
    assert "no sign of life" in failures(tmp_path / "run")[0]


@pytest.mark.ray
@pytest.mark.slow
def test_a_node_removed_while_it_trains(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    apart(node_removed.__name__, tmp_path)
    assert facts(tmp_path / "run") == undisturbed
    counted = count(tmp_path / "run")
    assert counted["lost"] == 0
    assert 1 <= counted["trained twice"] <= 3, "only what the node had"


@pytest.mark.ray
@pytest.mark.slow
def test_a_worker_killed_by_rays_memory_monitor(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    apart(memory_monitored.__name__, tmp_path, more=monitor_settings())
    assert facts(tmp_path / "run") == undisturbed
    counted = count(tmp_path / "run")
    assert counted["lost"] == 0
    assert counted["trained twice"] >= 1
    assert any("memory" in error for error in failures(tmp_path / "run"))


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MB with 16 kB left."""
    try:
        with small_disk(tmp_path / "disk", "4m") as disk:
            (disk / "filler").write_bytes(bytes(4080 * 1024))
            yield disk
    except PermissionError as error:
        pytest.skip(f"cannot mount a small disk: {error}")


@pytest.mark.parametrize(
    "execution",
    [
        pytest.param({"name": "local"}, marks=pytest.mark.process),
        pytest.param(ON_RAY, marks=[pytest.mark.ray, pytest.mark.long]),
    ],
    ids=["local", "ray"],
)
def test_a_full_disk_is_a_clear_error_and_loses_nothing(
    full_disk: Path, undisturbed: tuple[Any, ...], execution: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if execution is ON_RAY:
        request.getfixturevalue("ray_cluster")
    experiment = from_data({**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4}, "execution": execution})
    with pytest.raises(JournalError, match=r"No space left on device.*Nothing is lost"):
        run(experiment, full_disk / "run")
    before = facts(full_disk / "run")[0]
    assert 0 < len(before) < len(undisturbed[0])
    (full_disk / "filler").unlink()
    resume(full_disk / "run")
    assert facts(full_disk / "run") == undisturbed
    assert before.items() <= facts(full_disk / "run")[0].items()
    assert count(full_disk / "run")["lost"] == 0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A search of which one instance of 53 hangs, once: until it is ended, a driver that carries it out cannot end."""
    path, marks = tmp_path / "experiment.yaml", tmp_path / "marks"
    marks.mkdir()
    hangs = {"name": "synthetic", "epochs": 4, "fail": 0.01, "failure": "hang", "fail_once_in": str(marks)}
    path.write_text(yaml.safe_dump({**EXPERIMENT, "workload": hangs}))
    return path


def test_two_drivers_on_one_directory_and_sigterm(
    file: Path, undisturbed: tuple[Any, ...], tmp_path: Path, start: Callable[..., subprocess.Popen[str]]
) -> None:
    run_dir = tmp_path / "run"
    driver = start(*command("run", file, "--run-dir", run_dir))
    wait_for("an instance to hang", lambda: list((tmp_path / "marks").iterdir()), by=driver)
    second = shell("resume", run_dir)
    assert second.returncode == 2
    assert "another raysearch driver runs in this directory" in second.stderr
    third = shell("run", file, "--run-dir", run_dir)
    assert third.returncode == 2
    assert "holds a search already" in third.stderr
    assert driver.poll() is None, "the first driver is not disturbed"
    driver.send_signal(signal.SIGTERM)
    out, errors = driver.communicate()
    assert driver.returncode == 143, errors
    assert f"Run directory: {run_dir}" in out
    assert f"raysearch: terminated. Nothing is lost: `raysearch resume {run_dir}` goes on" in errors
    assert "Traceback" not in errors
    resume(run_dir)
    assert facts(run_dir) == undisturbed


@pytest.mark.ray
@pytest.mark.parametrize(
    ("number", "code", "word"),
    [
        pytest.param(signal.SIGTERM, 143, "terminated", marks=pytest.mark.long),
        pytest.param(signal.SIGINT, 130, "interrupted", marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "SIGINT"],
)
def test_a_driver_on_ray_with_mlflow_ends_by_a_signal(
    file: Path,
    undisturbed: tuple[Any, ...],
    tmp_path: Path,
    start: Callable[..., subprocess.Popen[str]],
    make_store: Callable[..., str],
    number: int,
    code: int,
    word: str,
) -> None:
    from mlflow import MlflowClient

    run_dir, store = tmp_path / "run", make_store(tmp_path)
    settings = ["--set", "execution={name: ray_tune, local_cpus: 2}", "--set", "tracking=mlflow"]
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store}
    driver = start(*command("run", file, "--run-dir", run_dir, *settings), env=environment, cwd=tmp_path)
    wait_for("an instance to hang", lambda: list((tmp_path / "marks").iterdir()), by=driver)
    driver.send_signal(number)
    _, errors = driver.communicate()
    assert driver.returncode == code, errors
    assert f"raysearch: {word}. Nothing is lost: `raysearch resume {run_dir}` goes on" in errors
    assert "Traceback" not in errors
    client = MlflowClient(store)
    found = client.get_experiment_by_name("resumed")
    assert found is not None
    (search,) = client.search_runs([found.experiment_id], "tags.kind = 'search'")
    assert search.info.status == "KILLED", "the tracker was closed"
    told = len(facts(run_dir)[0])
    assert told > 6
    instances = client.search_runs([found.experiment_id], "tags.kind = 'instance'", max_results=1000)
    assert len(instances) == told, "all that was told is in MLflow"
    resume(run_dir, {"tracking": None, "execution": "local"})
    assert facts(run_dir) == undisturbed


def test_on_failure_raise_leaves_a_directory_to_go_on_with(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    workload = {"name": "synthetic", "epochs": 4, "fail": 0.1, "fail_once_in": str(marks)}
    race = {**EXPERIMENT["race"], "on_failure": "raise", "retries": 0}
    experiment = from_data({**EXPERIMENT, "workload": workload, "race": race})
    with pytest.raises(WorkloadError, match=r"on_failure: raise[\s\S]*synthetic failure"):
        run(experiment, tmp_path / "run")
    failed = [e for e in read(tmp_path / "run" / "journal.jsonl") if e["event"] == "tell" and e["status"] == "FAILED"]
    assert len(failed) == 1
    resume(tmp_path / "run", {"race.on_failure": "count", "race.retries": 1})
    losses = facts(tmp_path / "run")[0]
    assert sum(loss == "inf" for loss in losses.values()) == 1, "what was told stays told"
