"""What a search leaves on a Ray cluster that lives on: no folders, no workers, whatever ended it."""

import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ray import cloudpickle

from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_tune import RayTune
from raysearch.race.race import Race
from raysearch.records import Configuration, Progress
from raysearch.registry import load
from raysearch.tracking.silent import Silent
from raysearch.workloads.function import Function

# workers cannot import a test module: send what it defines by value
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.usefixtures("ray_cluster")


def exhaustive(train: Any, folder: Path, n_instances: int, tracker: Any = None) -> RaceRunner:
    pool = [Configuration.of({"folder": str(folder), "x": x}) for x in range(2)]
    rule = load("rules", "exhaustive", n_instances=n_instances)
    runner = RaceRunner(
        Race(lambda outcomes: [] if outcomes else pool, load("criteria", "max"), rule), tracker or Silent()
    )
    RayTune(heartbeat_s=0.5).run(runner, Function(train))
    return runner


def artifacts() -> set[Path]:
    import ray

    return set(Path(ray._private.worker._global_node.get_session_dir_path(), "artifacts").rglob("*"))


def neighbours(config: dict[str, Any], seed: int) -> int:
    """Count the working directories beside this one; the first training of all writes a file into its own."""
    with suppress(FileExistsError):
        Path(config["folder"], "written").touch(exist_ok=False)
        Path("notes.txt").write_text("a training wrote this")
    return len(list(Path.cwd().parent.iterdir()))


def test_working_directories_go_with_their_instances_unless_something_is_in_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = artifacts()
    runner = exhaustive(neighbours, tmp_path, 15)
    assert runner.race.state.pool.losses.max() < 10, "30 instances on two slots"
    left = artifacts() - before
    assert [path.read_text() for path in left if path.is_file()] == ["a training wrote this"]
    assert all((path / "notes.txt").exists() for path in left if path.parent.name == "working_dirs")
    assert not [path for path in left if path.name == "driver_artifacts"]
    assert list(temporary.iterdir()) == []


def trains_on(config: dict[str, Any], seed: int) -> Any:
    Path(config["folder"], f"{os.getpid()}").touch()
    while True:
        time.sleep(0.05)
        yield 1.0


def interrupt_once_training(folder: Path) -> None:
    while len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_an_interrupted_search_leaves_neither_workers_nor_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary, marks = tmp_path / "temporary", tmp_path / "marks"
    temporary.mkdir()
    marks.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    before = artifacts()
    threading.Thread(target=interrupt_once_training, args=(marks,), daemon=True).start()
    with pytest.raises(KeyboardInterrupt) as kept:  # its frames hold the Tuner, as a notebook's last error does
        exhaustive(trains_on, marks, 4)
    assert list(temporary.iterdir()) == []
    assert artifacts() == before
    end = time.monotonic() + 100
    for process in [int(mark.name) for mark in marks.iterdir()]:
        with suppress(ProcessLookupError):
            while True:
                os.kill(process, 0)
                assert time.monotonic() < end, "a worker trains on"
                time.sleep(0.05)
    assert kept.value is not None


class _Views(Silent):
    """Keeps what it was shown, and leaves a mark once that is two running instances or more."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark
        self.shown: list[Progress] = []

    def progress(self, progress: Progress) -> None:
        self.shown.append(progress)
        if progress.n_running >= 2:
            self.mark.touch()


def waits_to_be_shown(config: dict[str, Any], seed: int) -> float:
    end = time.monotonic() + 60
    while not Path(config["folder"], "mark").exists() and time.monotonic() < end:
        time.sleep(0.05)
    return 1.0


def test_what_waits_in_the_queue_is_not_shown_as_running(tmp_path: Path) -> None:
    views = _Views(tmp_path / "mark")
    exhaustive(waits_to_be_shown, tmp_path, 5, views)
    assert max(progress.n_running for progress in views.shown) == 2, "two slots"
    assert views.shown[-1].n_running == 0
