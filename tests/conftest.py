"""What every test shares: the modules beside it, processes that end with it, empty stores and one Ray cluster."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))
# Ray gives its workers the last place but four in the queue for a processor: beside other programs they would starve
os.environ.setdefault("RAY_worker_niceness", "0")
pytest_plugins = ["kinds", "left_behind", "pytester"]

# property tests try the same examples in every run
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def _figures_where_they_are_looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the figures out of reports, but for tests marked `figures`: a second of drawing at each end of a search."""
    if not request.node.get_closest_marker("figures"):
        from raysearch.analysis import report

        monkeypatch.setattr(report, "DRAWINGS", ())


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a process with pipes, `start(*words, **options of Popen)`; what still runs after the test is killed."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: object, **options: Any) -> subprocess.Popen[str]:
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen([str(word) for word in words], **{**pipes, **options}))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def outliving(pytestconfig: pytest.Config) -> Callable[[str], AbstractContextManager[None]]:
    """Let the processes that are started inside it outlive the test, `with outliving(why): ...`."""
    keeping: Callable[[str], AbstractContextManager[None]]
    keeping = pytestconfig.pluginmanager.getplugin("processes-left-behind").keeping
    return keeping


@pytest.fixture
def daemons() -> Iterator[Any]:
    """Real daemons (`real_processes.Daemons`) in a directory of the test's own; they end with it."""
    from real_processes import Daemons

    daemons = Daemons()
    yield daemons
    daemons.stop()


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Put a fresh MLflow store into a folder, `make_store(folder, name="mlflow.db")`, and return its uri."""
    from mlflow_image import stores

    return stores(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="session")
def _ray_ends() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def ray_cluster(_ray_ends: None, outliving: Callable[[str], AbstractContextManager[None]]) -> None:
    """One real Ray cluster of two slots, kept for all tests that need one, started anew after a test with its own."""
    import ray

    if ray.is_initialized():
        return
    with outliving("the cluster that tests share"):
        for attempt in range(3):  # a busy machine can miss Ray's 30 s wait for its raylet
            try:
                ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
                return
            except Exception:
                ray.shutdown()
                if attempt == 2:
                    raise


@pytest.fixture
def ray_address(ray_cluster: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """The address of that cluster, which processes that the test starts join instead of starting one of their own."""
    import ray

    address: str = ray.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_ADDRESS", address)
    return address
