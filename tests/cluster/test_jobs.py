"""`cluster/jobs/submit.sh` against a real Ray head: a search on another cluster, watched from outside."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from real_processes import Daemons, free_port, need_ray_extra
from waiting import wait_for

import raysearch

ROOT = Path(__file__).parents[2]


def head_with_jobs(daemons: Daemons, n_cpus: int) -> str:
    """Start a head and return its job server's address."""
    need_ray_extra()
    dashboard = free_port()
    head = ["--head", "--port", dashboard + 1, "--num-cpus", n_cpus, "--min-worker-port", 0, "--max-worker-port", 0]
    daemons.start_ray("head", *head, "--dashboard-host", "127.0.0.1", "--dashboard-port", dashboard)
    address = f"http://127.0.0.1:{dashboard}"
    wait_for("the job server", lambda: daemons.run(["ray", "job", "list", "--address", address]), pause_s=1.0)
    return address


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_submitted_search_can_be_watched_and_ends(daemons: Daemons) -> None:
    address = head_with_jobs(daemons, 2)
    run_dir = daemons.directory / "run"
    more = {"RAYSEARCH_JOBS": address, "MLFLOW_TRACKING_URI": f"sqlite:///{daemons.directory}/mlflow.db"}
    settings = ["--set", "race.confirm=3", "--set", "workload.seconds=0.1"]
    command = [ROOT / "cluster/jobs/submit.sh", run_dir, "search_spaces/synthetic.yaml", *settings]
    said = daemons.run(command, cwd=ROOT, env={**daemons.environment, **more})
    found = re.search(r"ray job logs --address \S+ --follow (\S+)", said)
    assert found is not None, said
    job = ["--address", address, found[1]]

    def progress() -> bool:
        return bool(re.search(r"round \d+ \| \d+/\d+ instances", daemons.run(["ray", "job", "logs", *job])))

    wait_for("live lines in the job's log", progress, pause_s=1.0)
    assert "RUNNING" in daemons.run(["ray", "job", "status", *job])
    status = wait_for("the job's end", lambda: _ended(daemons.run(["ray", "job", "status", *job])), pause_s=2.0)
    assert status == "succeeded", daemons.run(["ray", "job", "logs", *job])
    assert set(raysearch.load(run_dir)["status"]) <= {"COMPLETE", "DIVERGED", "STOPPED"}
    assert daemons.environment["RAY_AUTH_TOKEN"] not in daemons.run(["ray", "job", "logs", *job])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_command_itself_as_a_job_trains_on_the_cluster_not_on_a_ray_of_its_own(daemons: Daemons) -> None:
    n_cpus = (os.cpu_count() or 1) + 1  # more than this machine has: a private Ray would refuse
    address = head_with_jobs(daemons, n_cpus)
    run_dir = daemons.directory / "run"
    search = ["raysearch", "run", ROOT / "search_spaces/synthetic.yaml", "--run-dir", run_dir]
    settings = {"execution.cpus": n_cpus, "race.confirm": 1, "tracking": "null", "rule": "{name: halving, warmup: 1}"}
    given = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    # with --no-wait, as the job's log travels by a socket that a busy machine may time out
    submit = ["ray", "job", "submit", "--address", address, "--submission-id", "literal", "--no-wait"]
    daemons.run([*submit, "--", *search, *given])
    job = ["--address", address, "literal"]
    status = wait_for("the job's end", lambda: _ended(daemons.run(["ray", "job", "status", *job])), pause_s=2.0)
    said = daemons.run(["ray", "job", "logs", *job])
    assert status == "succeeded", said
    assert "Winner" in said
    assert len(raysearch.load(run_dir)) > 32


def _ended(text: str) -> str:
    found = re.search(r"\b(succeeded|failed|stopped)\b", text)
    return found[1] if found else ""


def test_the_script_asks_for_its_arguments(daemons: Daemons) -> None:
    with pytest.raises(AssertionError, match=r"usage: submit\.sh"):
        daemons.run([ROOT / "cluster/jobs/submit.sh"])
