"""The race on a real Ray cluster: stops, failures, time limits, shared data, resources."""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from races import FirstDecides
from ray import cloudpickle
from waiting import PATIENCE_S

from raysearch.errors import ResourceError, WorkloadError
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_cluster import _join_or_start
from raysearch.execution.ray_tune import RayTune
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceKey, InstanceResult, Progress, Status
from raysearch.registry import load
from raysearch.storage.journal import Journal, read
from raysearch.tracking.silent import Silent
from raysearch.workloads.function import Function
from raysearch.workloads.synthetic import Synthetic

# workers cannot import a test module: send what it defines by value
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.usefixtures("ray_cluster")


def race(parameters: list[dict[str, Any]], rule: Any, journal: Any = None, **settings: Any) -> RaceRunner:
    pool = [Configuration.of(p) for p in parameters]
    propose = lambda outcomes: [] if outcomes else pool  # noqa: E731
    raise_on_failure = settings.pop("raise_on_failure", False)
    return RaceRunner(
        Race(propose, load("criteria", "median"), rule, journal=journal, **settings),
        Silent(),
        raise_on_failure=raise_on_failure,
    )


def _train(config: dict[str, Any], seed: int) -> Any:
    """Report for 150 s and leave a mark, or give a loss as soon as another instance does that."""
    begun, ended = Path(config["folder"], "begun"), Path(config["folder"], "ran-to-its-end")
    if config["slow"]:
        begun.touch()
        for _ in range(3000):
            time.sleep(0.05)
            yield 1.0
        ended.touch()
    while not begun.exists():
        time.sleep(0.05)
    yield 0.5


def test_running_instance_of_an_eliminated_configuration_is_stopped_at_once(tmp_path: Path) -> None:
    pool = [{"folder": str(tmp_path), "slow": slow} for slow in (False, True)]
    runner = race(pool, FirstDecides(), confirm=2)
    RayTune().run(runner, Function(_train))
    state = runner.race.state
    assert state.counts[Status.STOPPED] == 1
    assert state.counts["told"] == 3  # the winner's one race instance and two confirmations
    assert [path.name for path in tmp_path.iterdir()] == ["begun"]


def test_a_crash_is_tried_again_and_counts_for_nothing(tmp_path: Path) -> None:
    workload = Synthetic(fail=0.3, failure="kill", fail_once_in=str(tmp_path))
    pool = [{"level": level, "spread": 0.01} for level in (0.1, 0.2, 0.3, 0.4)]
    runner = race(pool, load("rules", "exhaustive", n_instances=3), retries=1)
    RayTune().run(runner, workload)
    counts = runner.race.state.counts
    assert counts["failures"] > 0
    assert counts[Status.FAILED] == 0
    assert counts[Status.COMPLETE] == 12


def test_an_instance_that_always_crashes_counts_as_infinite_with_its_traceback(tmp_path: Path) -> None:
    workload = Synthetic(fail=0.3, failure="raise")
    pool = [{"level": level, "spread": 0.01} for level in (0.1, 0.2, 0.3, 0.4)]
    with Journal(tmp_path / "journal.jsonl") as journal:
        journal.write({"event": "start", "version": 1})
        runner = race(pool, load("rules", "exhaustive", n_instances=3), journal, retries=2)
        RayTune().run(runner, workload)
    counts = runner.race.state.counts
    assert counts[Status.FAILED] > 0
    assert counts["failures"] == 3 * counts[Status.FAILED]
    failed = [e for e in read(tmp_path / "journal.jsonl") if e["event"] == "tell" and e["status"] == "FAILED"]
    assert all("Traceback" in event["error"] and event["attempt"] == 3 for event in failed)


def test_on_failure_raise_ends_the_search_with_the_traceback() -> None:
    runner = race([{"x": 1}], load("rules", "exhaustive", n_instances=4), retries=0, raise_on_failure=True)
    with pytest.raises(WorkloadError, match=r"on_failure: raise[\s\S]*ZeroDivisionError"):
        RayTune().run(runner, Function(lambda config, seed: 1 / 0))


def test_a_broken_workload_ends_the_search_instead_of_failing_everywhere() -> None:
    runner = race([{"x": n} for n in range(50)], load("rules", "halving"), retries=0)
    with pytest.raises(WorkloadError, match=r"all of the first 5 instances failed[\s\S]*must give a loss"):
        RayTune().run(runner, Function(lambda config, seed: None))
    assert runner.race.state.counts["asked"] < 20


def test_a_hanging_instance_meets_its_time_limit() -> None:
    workload = Synthetic(fail=0.4, failure="hang")
    pool = [{"level": level, "spread": 0.01} for level in (0.1, 0.2)]
    runner = race(pool, load("rules", "exhaustive", n_instances=2), retries=0)
    RayTune(timeout_s=1.5, heartbeat_s=0.5).run(runner, workload)
    counts = runner.race.state.counts
    assert counts[Status.FAILED] > 0
    assert counts[Status.FAILED] + counts[Status.COMPLETE] == 4


@dataclass(frozen=True)
class _Shared:
    """Counts preparations in a file, and fails unless the data is read-only, as what lies in the object store is."""

    folder: str

    def prepare(self) -> Any:
        with open(Path(self.folder) / "prepared", "a") as file:
            file.write("x")
        return {"inputs": np.ones((2000, 500))}

    def check(self, parameters: Any) -> None: ...

    def train(self, configuration: Any, seeds: Any, report: Any, data: Any) -> list[InstanceResult]:
        if data["inputs"].flags.writeable:
            raise RuntimeError("the data was copied")
        return [InstanceResult.of(InstanceKey(configuration.id, seed), float(data["inputs"][0, 0])) for seed in seeds]


def test_shared_data_is_prepared_once_and_read_from_the_object_store(tmp_path: Path) -> None:
    runner = race([{"x": 1}, {"x": 2}], load("rules", "exhaustive", n_instances=4), retries=0, block=2)
    RayTune().run(runner, _Shared(str(tmp_path)))
    assert runner.race.state.counts[Status.COMPLETE] == 8
    assert (tmp_path / "prepared").read_text() == "x"


def test_resources_that_the_cluster_lacks_are_refused_before_anything_trains() -> None:
    with pytest.raises(ResourceError, match=r"asks for 1 GPU, the cluster has 0 .*set `gpus: 0`"):
        RayTune(gpus=1).check()
    with pytest.raises(ResourceError, match="asks for 500 CPU"):
        RayTune(cpus=500).check()
    RayTune(gpus=1, autoscaling=True).check()


JOINING = """
import os, subprocess, sys
from ray.cluster_utils import Cluster

DRIVER = '''
import sys
import ray
from raysearch.execution.ray_cluster import connect
from raysearch.execution.ray_tune import RayTune

tune = RayTune(address=sys.argv[1] or None)
connect(tune.address, None)
assert "CPU" not in ray.cluster_resources()
print("connected", flush=True)
tune.check()
assert ray.cluster_resources()["CPU"] == 1
'''
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
told, known = (cluster.address, {}), ("", {"RAY_ADDRESS": cluster.address})
drivers = [
    subprocess.Popen([sys.executable, "-c", DRIVER, address], stdout=subprocess.PIPE, env={**os.environ, **more})
    for address, more in (told, known)
]
assert [driver.stdout.readline() for driver in drivers] == [b"connected\\n"] * 2
cluster.add_node(num_cpus=1)
assert [driver.wait() for driver in drivers] == [0, 0]
cluster.shutdown()
"""


@pytest.mark.long
def test_machines_of_a_joined_cluster_may_still_be_on_their_way() -> None:
    """Of one whose address is given, and of one at RAY_ADDRESS."""
    done = subprocess.run([sys.executable, "-c", JOINING], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


ADDRESS_OF_THE_ENVIRONMENT = """
import os, ray
from raysearch.execution.ray_tune import RayTune

RayTune().check()
assert ray.get_runtime_context().gcs_address == os.environ["RAY_ADDRESS"]
ray.shutdown()
RayTune(address="local", local_cpus=1).check()
assert ray.get_runtime_context().gcs_address != os.environ["RAY_ADDRESS"]
"""


def test_the_cluster_at_ray_address_is_joined_and_local_starts_another(ray_address: str) -> None:
    script = [sys.executable, "-c", ADDRESS_OF_THE_ENVIRONMENT]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]


def test_an_address_that_nobody_answers_says_where_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "nonsense:port")
    with pytest.raises(ResourceError, match=r"'nonsense:port' \(RAY_ADDRESS says so\).*`--address local`"):
        _join_or_start(None, None)  # as where Ray is not initialized yet


@dataclass(frozen=True)
class _Keeps(_Shared):
    """Writes a checkpoint after every epoch of 0.05 s; `epochs`, and whose checkpoints to wait for, are parameters."""

    def prepare(self) -> None: ...

    def train(self, configuration: Any, seeds: Any, report: Any, data: Any) -> list[InstanceResult]:
        kept = Path(report.checkpoints[0], configuration.id, f"{seeds[0]}.safetensors")
        kept.parent.mkdir(parents=True, exist_ok=True)
        other = configuration.parameters.get("after")
        while other and len(list(Path(report.checkpoints[0], other).iterdir())) < 2:
            time.sleep(0.05)
        for epoch in range(1, configuration.parameters["epochs"] + 1):
            report(epoch, 1.0)
            kept.touch()
            time.sleep(0.05)
        kept.unlink()
        return [InstanceResult.of(InstanceKey(configuration.id, seeds[0]), 1.0)]


def test_the_checkpoint_of_a_stopped_instance_is_deleted(tmp_path: Path) -> None:
    slow = {"epochs": 2000}
    runner = race([{"epochs": 1, "after": Configuration.of(slow).id}, slow], FirstDecides())
    other = tmp_path / Configuration.of(slow).id / "77.safetensors"
    other.parent.mkdir()
    other.touch()
    RayTune(checkpoints=str(tmp_path)).run(runner, _Keeps(str(tmp_path)))
    assert runner.race.state.counts[Status.STOPPED] == 1
    (stopped,) = runner.given_up
    assert stopped.configuration_id == Configuration.of(slow).id
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [other]


class _Views(Silent):
    """Keeps what the views were shown, and leaves a mark once that is two running instances, time and again."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark
        self.shown: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.shown.append(progress)
        if [(shown.n_finished, shown.n_running) for shown in self.shown[-4:]] == [(0, 2)] * 4:
            self.mark.touch()


def _wait(config: dict[str, Any], seed: int) -> float:
    """Train until a mark is there, for some minutes at most."""
    end = time.monotonic() + PATIENCE_S / 2
    while not Path(config["mark"]).exists() and time.monotonic() < end:
        time.sleep(0.05)
    return 1.0


def test_views_are_right_while_instances_are_long(tmp_path: Path) -> None:
    views = _Views(tmp_path / "mark")
    runner = race([{"mark": str(views.mark), "x": x} for x in (1, 2)], FirstDecides())
    runner.tracker = views
    RayTune(heartbeat_s=0.5).run(runner, Function(_wait))
    assert views.mark.exists(), "they were shown nothing while two instances trained"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cpus": -1}, "cpus must be at least 0, got -1"),
        ({"cpus": 0}, "must not both be 0"),
        ({"gpus": 1.5}, "whole number"),
        ({"timeout_s": 0}, "timeout_s must be above 0 or null, got 0"),
    ],
)
def test_impossible_settings_are_refused(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RayTune(**settings)  # type: ignore[arg-type]
