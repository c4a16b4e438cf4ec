"""Worker processes: a stopped training that has not ended shares its process with no other one."""

import json
import os
import re
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from races import FirstDecides
from ray import cloudpickle

import raysearch
from raysearch.execution import ray_controller
from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_tune import RayTune
from raysearch.race.race import Race
from raysearch.records import Configuration, Status
from raysearch.registry import load
from raysearch.tracking.silent import Silent
from raysearch.workloads.function import Function

# workers cannot import a test module: send what it defines by value
cloudpickle.register_pickle_by_value(sys.modules[__name__])
pytestmark = pytest.mark.usefixtures("ray_cluster")


def search(train: Any, folder: Path, *, confirm: int = 4) -> RaceRunner:
    """Race a configuration that gives its loss at once against one that trains on; retries 0: a failure would count."""
    settings = {"folder": str(folder), "seconds": 0.5, "meet": True}
    pool = [Configuration.of({**settings, "row": row}) for row in (0, 1)]
    propose = lambda outcomes: [] if outcomes else pool  # noqa: E731
    race = Race(propose, load("criteria", "median"), FirstDecides(), confirm=confirm, retries=0)
    runner = RaceRunner(race, Silent())
    RayTune().run(runner, Function(train))
    return runner


def of_seed(seed: int, n: int = 20) -> float:
    return float(np.random.RandomState(seed % 2**32).random_sample(n).sum())


def draws(config: dict[str, Any], seed: int) -> float:
    """Sum what the process's global generator draws in `seconds`, never reporting, as a plain function does.

    In row 1 it draws 400 times as long: it does not end before it is ended.
    """
    Path(config["folder"], f"{config['row']}-{os.getpid()}-{seed}").touch()
    np.random.seed(seed % 2**32)  # noqa: NPY002
    total = 0.0
    for _ in range(20 * (400 if config["row"] else 1)):
        time.sleep(config["seconds"] / 20)
        total += float(np.random.random_sample())  # noqa: NPY002
    if config["meet"] and not config["row"]:
        wait_for_the_other_slot(Path(config["folder"]))
    return total


def wait_for_the_other_slot(folder: Path) -> None:
    """Hold an instance of row 0 until the other slot trains, however long its worker takes to start.

    That is row 1 at first; after it was stopped, an instance of row 0 in another process.
    """
    end = time.monotonic() + 120
    is_first = len(started(folder, row=0)) == 1
    while time.monotonic() < end:
        if started(folder, row=1) and (is_first or len({process for process, _ in started(folder, row=0)}) == 2):
            return
        time.sleep(0.05)


def started(folder: Path, row: int) -> list[tuple[int, int]]:
    """Return (process, seed) of all trainings of a row."""
    names = [path.name.split("-") for path in folder.glob(f"{row}-*")]
    return [(int(process), int(seed)) for _, process, seed in names]


def takes_turns(train: Any) -> Any:
    """Return a training that waits for the other slot: row 0's first for row 1, its later ones for a second worker.

    It raises where the other slot does nothing for long, as one that was lost.
    """

    def trains(config: dict[str, Any], seed: int) -> Any:
        folder = Path(config["folder"])
        first = not started(folder, row=0)
        Path(folder, f"{config['row']}-{os.getpid()}-{seed}").touch()
        if not config["row"]:
            end = time.monotonic() + 120
            while not (started(folder, row=1) if first else len({process for process, _ in started(folder, 0)}) == 2):
                if time.monotonic() > end:
                    raise TimeoutError("the other slot is lost")
                time.sleep(0.05)
        return train(config, seed)

    return trains


def wait_until_ended(process: int) -> None:
    """Fail if a process lives on; Ray reaps those of its workers that it has ended."""
    end = time.monotonic() + 100
    with suppress(ProcessLookupError):
        while True:
            os.kill(process, 0)
            assert time.monotonic() < end, "the worker trains on"
            time.sleep(0.05)


def test_what_a_stopped_function_draws_changes_no_loss(tmp_path: Path) -> None:
    state = search(takes_turns(draws), tmp_path).race.state
    assert state.counts[Status.STOPPED] == 1
    assert state.counts["failures"] == 0
    losses = {result.key.seed: result.loss for result in state.confirmation.values()}
    assert len(losses) == 4
    assert losses == pytest.approx({seed: of_seed(seed) for seed in losses}, abs=1e-12)
    ((stopped, _),) = started(tmp_path, row=1)
    wait_until_ended(stopped)
    workers = {process for process, _ in started(tmp_path, row=0)}
    assert stopped not in workers
    assert len(workers) == 2, "a slot was lost"


def holds_the_interpreter(config: dict[str, Any], seed: int) -> float:
    """Give a loss, or match for ever in compiled code, so that the worker answers nothing."""
    if config["row"]:
        Path(config["folder"], f"1-{os.getpid()}-{seed}").touch()
        re.match(r"(a+)+$", "a" * 60 + "b")
    return draws(config, seed)


def test_a_worker_that_does_not_answer_the_handover_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_controller, "HANDOVER_S", 3.0)
    state = search(takes_turns(holds_the_interpreter), tmp_path).race.state
    assert (state.counts[Status.STOPPED], state.counts["failures"], len(state.confirmation)) == (1, 0, 4)
    ((stopped, _),) = started(tmp_path, row=1)
    wait_until_ended(stopped)
    assert len({process for process, _ in started(tmp_path, row=0)}) == 2, "a slot was lost"


def dies_when_stopped(config: dict[str, Any], seed: int) -> Any:
    """Report for ever in row 1, and take the process down where that ends."""
    if not config["row"]:
        yield draws(config, seed)
        return
    Path(config["folder"], f"1-{os.getpid()}-{seed}").touch()
    try:
        while True:
            time.sleep(0.05)
            yield 1.0
    finally:
        os._exit(1)


def test_a_worker_that_dies_between_two_blocks_costs_the_next_one_nothing(tmp_path: Path) -> None:
    state = search(takes_turns(dies_when_stopped), tmp_path).race.state
    assert (state.counts[Status.STOPPED], state.counts["failures"], len(state.confirmation)) == (1, 0, 4)
    assert len({process for process, _ in started(tmp_path, row=0)}) == 2, "a slot was lost"


def test_a_superfluous_training_ends_with_the_search(tmp_path: Path) -> None:
    state = search(takes_turns(draws), tmp_path, confirm=0).race.state
    assert state.counts[Status.STOPPED] == 1
    ((stopped, _),) = started(tmp_path, row=1)
    wait_until_ended(stopped)


def hangs_once(config: dict[str, Any], seed: int) -> float:
    """Draw for ever in the first training of all, for a while in the others."""
    with suppress(FileExistsError):
        Path(config["folder"], "hung").touch(exist_ok=False)
        return draws({**config, "row": 1}, seed)
    return draws(config, seed)


def test_a_training_past_its_time_limit_changes_no_other_loss(tmp_path: Path) -> None:
    pool = [Configuration.of({"folder": str(tmp_path), "seconds": 0.5, "row": 0, "meet": False})]
    rule = load("rules", "exhaustive", n_instances=4)
    race = Race(lambda outcomes: [] if outcomes else pool, load("criteria", "median"), rule, retries=1)
    RayTune(timeout_s=5.0, heartbeat_s=0.5).run(RaceRunner(race, Silent()), Function(hangs_once))
    state = race.state
    assert (state.counts["failures"], state.counts[Status.FAILED]) == (1, 0)
    seeds = [seed for _, seed in started(tmp_path, row=0)]
    assert sorted(state.pool.losses[0]) == pytest.approx(sorted(of_seed(seed) for seed in seeds), abs=1e-12)
    ((hung, _),) = started(tmp_path, row=1)
    wait_until_ended(hung)
    assert hung not in {process for process, _ in started(tmp_path, row=0)}


def kills_itself_once(config: dict[str, Any], seed: int) -> float:
    """Take the process down in the first training of all."""
    with suppress(FileExistsError):
        Path(config["folder"], "killed").touch(exist_ok=False)
        os.kill(os.getpid(), signal.SIGKILL)
    return draws(config, seed)


def test_what_ray_knows_of_the_death_of_a_worker_is_in_the_journal(tmp_path: Path) -> None:
    raysearch.search(
        kills_itself_once,
        space={"folder": [str(tmp_path)], "seconds": [0.1], "row": [0], "meet": [False]},
        rule={"name": "exhaustive", "n_instances": 2},
        confirm=0,
        run_dir=tmp_path / "run",
        tracking="silent",
        progress=False,
    )
    lines = map(json.loads, (tmp_path / "run" / "journal.jsonl").read_text().splitlines())
    (failure,) = [line for line in lines if line["event"] == "failure"]
    assert "worker process has died" in failure["error"], failure
