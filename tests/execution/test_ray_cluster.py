"""What is refused before a search begins: another cluster than the one asked for, one that is gone, a workload."""

import importlib
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import raysearch
from raysearch.errors import ExperimentError, ResourceError, WorkloadError
from raysearch.execution.ray_tune import RayTune

pytestmark = pytest.mark.ray


@pytest.mark.usefixtures("ray_cluster")
def test_the_cluster_that_is_connected_already_is_taken_under_all_its_names() -> None:
    import ray

    here = ray.get_runtime_context().gcs_address
    port = here.rpartition(":")[2]
    for address in (None, "auto", "local", here, f"localhost:{port}", f"127.0.0.1:{port}", "ray://localhost:10001"):
        RayTune(address=address).check()


@pytest.mark.usefixtures("ray_cluster")
@pytest.mark.parametrize(
    "address", ["localhost:1", "198.51.100.7:6379", "no-such-host:6379", "ray://198.51.100.7:10001"]
)
def test_another_cluster_than_the_connected_one_is_refused(address: str) -> None:
    message = (
        rf"is connected to the Ray cluster at \S+ already, .* asks for the one at '{address}': .*ray\.shutdown\(\)"
    )
    with pytest.raises(ResourceError, match=message):
        RayTune(address=address).check()


@pytest.mark.usefixtures("ray_cluster")
def test_another_number_of_cpus_than_the_started_cluster_has_is_refused() -> None:
    RayTune(local_cpus=2).check()
    with pytest.raises(
        ResourceError, match=r"started has 2 CPUs, execution.local_cpus asks for 3: .*ray\.shutdown\(\)"
    ):
        RayTune(local_cpus=3).check()


JOINED = """
import ray, threading
from ray.cluster_utils import Cluster
from raysearch.errors import ResourceError
from raysearch.execution.ray_tune import RayTune

def refusal(**settings):
    try:
        RayTune(**settings).check()
    except ResourceError as error:
        return str(error)

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
RayTune(address=cluster.address).check()
RayTune(address=cluster.address, local_cpus=7).check()  # of a cluster that would be started
assert "asks for one of its own (`local`)" in refusal(address="local")
cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
# Ray ends the process after 60 s without its head, so what comes now comes soon
assert "does not answer any more" in refusal()
ray.shutdown()

starter = threading.Thread(target=RayTune(local_cpus=1).check)
starter.start()
starter.join()

@ray.remote(num_cpus=1)
def answer():
    return 42

assert ray.get(answer.remote()) == 42
RayTune(local_cpus=1).check()
"""


@pytest.mark.long
def test_the_end_of_a_joined_cluster_is_noticed_and_one_that_a_thread_starts_instead_outlives_the_thread() -> None:
    done = subprocess.run([sys.executable, "-c", JOINED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def with_a_lock() -> Any:
    lock = threading.Lock()

    def train(config: dict[str, Any], seed: int) -> float:
        with lock:
            return 1.0

    return train


def test_a_function_that_cannot_be_sent_to_workers_is_refused_before_the_run_directory_exists(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    message = r"cannot be sent to Ray's workers: .*'lock' \(<unlocked _thread.lock.*held by <function with_a_lock"
    with pytest.raises(ExperimentError, match=message):
        raysearch.search(with_a_lock(), space={"x": [1, 2]}, tracking="silent", progress=False, run_dir=run_dir)
    assert not run_dir.exists()
    result = raysearch.search(
        with_a_lock(), space={"x": [1, 2]}, execution="local", tracking="silent", progress=False, run_dir=run_dir
    )
    assert result.verdict.confirmation is not None


@pytest.mark.usefixtures("ray_cluster")
def test_a_function_that_no_worker_can_import_ends_the_search_at_once_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here_alone.py").write_text("def train(config, seed):\n    return config['x'] + seed % 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    train = importlib.import_module("here_alone").train
    run_dir, space = tmp_path / "run", {"x": list(range(20))}
    with pytest.raises(WorkloadError) as caught:
        raysearch.search(train, space=space, tracking="silent", progress=False, run_dir=run_dir)
    told = str(caught.value)
    assert "No module named 'here_alone'" in told
    assert "PYTHONPATH" in told
    assert f"raysearch resume {run_dir}" in told
    events = [json.loads(line)["event"] for line in (run_dir / "journal.jsonl").read_text().splitlines()]
    assert "tell" not in events  # no instance is to blame
