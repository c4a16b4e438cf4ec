"""Nothing is lost: a driver killed at random moments, and a search extended after its end."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from killing import EXPERIMENT, facts, kill_and_resume

from raysearch.driver.resume import resume
from raysearch.driver.run import load, run
from raysearch.driver.search import search
from raysearch.driver.status import write_report
from raysearch.errors import ExperimentError, JournalError, WorkloadError
from raysearch.experiment.experiment import from_data
from raysearch.storage.events import Measured
from raysearch.storage.journal import Journal
from raysearch.tracking.silent import Silent


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    run_dir = tmp_path_factory.mktemp("undisturbed") / "run"
    quick = {**EXPERIMENT, "workload": {"name": "synthetic", "epochs": 4}}  # sleeping changes no loss
    run(from_data(quick), run_dir)
    return facts(run_dir)


@pytest.mark.process
def test_driver_killed_at_random_moments_without_ray(undisturbed: tuple[Any, ...], tmp_path: Path) -> None:
    counted = kill_and_resume(tmp_path, 4, random.Random(1), "--set", "workload.seconds=0.06")
    assert facts(tmp_path / "run") == undisturbed
    assert counted["lost"] == 0
    assert counted["trained twice"] <= 4


@pytest.mark.ray
@pytest.mark.parametrize(
    "n_kills",
    [
        pytest.param(2, marks=pytest.mark.long),
        pytest.param(20, marks=[pytest.mark.slow, pytest.mark.timeout(1500)]),
    ],
    ids=["two", "twenty"],
)
def test_driver_killed_at_random_moments_on_ray(
    undisturbed: tuple[Any, ...], tmp_path: Path, n_kills: int, request: pytest.FixtureRequest
) -> None:
    if n_kills == 2:  # on a cluster that lives on; the other one starts and loses its own every time
        request.getfixturevalue("ray_address")
    counted = kill_and_resume(
        tmp_path, n_kills, random.Random(n_kills), "--set", "execution={name: ray_tune, local_cpus: 2}"
    )
    losses, cuts, winners = facts(tmp_path / "run")
    assert (losses, cuts, winners) == undisturbed
    assert counted["lost"] == 0
    print(json.dumps(counted))


def test_a_torn_last_line_is_cut_off_with_a_warning(
    undisturbed: tuple[Any, ...], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "run"
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    journal = run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:30]) + lines[30][:20])
    resume(run_dir)
    assert "torn last line" in caplog.text
    assert facts(run_dir)[1:] == undisturbed[1:]


def test_other_damage_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    journal = run_dir / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:11], b'{"event": "te\n', *lines[12:]]))
    with pytest.raises(JournalError, match="line 12 is damaged"):
        resume(run_dir)


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    with Journal(run_dir / "journal.jsonl"), pytest.raises(JournalError, match="another raysearch driver"):
        resume(run_dir)


def test_more_confirmation_reuses_what_exists(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    first = run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    second = resume(run_dir, {"race.confirm": 12})
    assert second.verdict.winner == first.verdict.winner
    assert second.verdict.confirmation is not None
    assert second.verdict.confirmation.n_instances == 12
    assert second.verdict.n_instances == first.verdict.n_instances + 4
    assert len(load(run_dir)) == second.verdict.n_instances


def test_more_configurations_race_against_the_winner(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    space = {"level": {"low": 0.1, "high": 0.9}, "spread": {"low": 0.001, "high": 0.1}}
    sampler = {"name": "random", "n_configurations": 6}
    first = run(from_data({**EXPERIMENT, "workload": "synthetic", "space": space, "sampler": sampler}), run_dir)
    second = resume(run_dir, {"sampler.n_configurations": 12})
    assert second.verdict.n_configurations == 12
    # 6 new ones train 3 each; the old winner has its instances already
    assert second.verdict.n_instances > first.verdict.n_instances + 18
    assert second.verdict.race.q3 <= first.verdict.race.q3


def test_more_instances_of_every_configuration(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    rule = {"name": "exhaustive", "n_instances": 3}
    run(from_data({**EXPERIMENT, "workload": "synthetic", "rule": rule}), run_dir)
    second = resume(run_dir, {"rule.n_instances": 5})
    assert second.verdict.race.n_instances == 5
    frame = load(run_dir)
    assert len(frame[frame["phase"] == "race"]) == 12 * 5


def test_what_failed_is_trained_again_on_request_and_may_win(tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    def train(config: dict[str, int], seed: int) -> float:
        if config["x"] == 3 and not disk.exists():
            raise OSError("the dataset is not there")
        return 1 / config["x"] + seed % 7 / 1000

    run_dir = tmp_path / "run"
    common = {"space": {"x": [1, 2, 3]}, "rule": {"name": "halving", "warmup": 2}, "confirm": 2, "retries": 1}
    first = search(train, run_dir=run_dir, execution="local", tracking=None, progress=False, **common)
    assert first.verdict.winner.parameters == {"x": 2}
    before = first.instances
    assert (before.status == "FAILED").sum() == 2
    disk.touch()
    second = resume(run_dir, retry_failed=True, workload=train)
    assert second.verdict.winner.parameters == {"x": 3}
    table = second.instances
    assert set(table.status) == {"COMPLETE"}
    assert not table.duplicated(["configuration_id", "seed"]).any()
    assert len(table) == len(before) + 2  # the new winner's confirmation
    assert resume(run_dir, retry_failed=True, workload=train).verdict == second.verdict


def test_a_search_that_was_ended_because_all_failed_can_be_taken_up(tmp_path: Path) -> None:
    disk = tmp_path / "disk"

    def train(config: dict[str, int], seed: int) -> float:
        if not disk.exists():
            raise OSError("the dataset is not there")
        return 1 / config["x"] + seed % 7 / 1000

    common = {"space": {"x": list(range(1, 9))}, "confirm": 2, "execution": "local", "tracking": None}
    with pytest.raises(WorkloadError, match="all of the first 5 instances failed"):
        search(train, run_dir=tmp_path / "run", progress=False, **common)
    disk.touch()
    result = resume(tmp_path / "run", retry_failed=True, workload=train)
    assert set(result.instances.status) == {"COMPLETE"}
    assert result.verdict.winner.parameters == {"x": 8}


def test_what_would_make_instances_incomparable_cannot_change(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    with pytest.raises(ExperimentError, match="'seed' cannot change"):
        resume(run_dir, {"seed": 8})
    with pytest.raises(ExperimentError, match="'workload' cannot change"):
        resume(run_dir, {"workload.tail": 0.2})


@dataclass(frozen=True)
class _Opened(Silent):
    """A tracker that counts how often it was opened."""

    times: list[Path] = field(default_factory=list)

    def open(self, search: dict[str, Any], run_dir: Path) -> None:
        self.times.append(run_dir)


@pytest.mark.parametrize("measure", ["curvature", "../../evil"])
def test_a_resume_that_is_refused_leaves_no_trace(tmp_path: Path, measure: str) -> None:
    run_dir, tracker = tmp_path / "a" / "b" / "run", _Opened()
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir, watchers=[tracker])
    of_another_search = Measured(measure, "0123456789ab", None, {"trace": 1.0}, n_instances=3)
    with Journal(run_dir / "journal.jsonl") as journal:
        journal.append(of_another_search)
    n_lines = len((run_dir / "journal.jsonl").read_bytes().splitlines())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for look in (lambda: resume(run_dir, watchers=[tracker]), lambda: write_report(run_dir, None)):
        with pytest.raises(JournalError, match=f"line {n_lines} of the journal: "):
            look()
    assert len(tracker.times) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_an_experiment_that_is_none_names_its_event_and_line(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    run(from_data({**EXPERIMENT, "workload": "synthetic"}), run_dir)
    for event in ({"event": "resume"}, {"event": "resume", "experiment": {"name": "x"}}):
        with Journal(run_dir / "journal.jsonl") as journal:
            journal.write(event)
        n_lines = len((run_dir / "journal.jsonl").read_bytes().splitlines())
        with pytest.raises(JournalError, match=f"line {n_lines} of the journal, a 'resume' event, holds no experiment"):
            resume(run_dir)


def test_what_failed_under_on_failure_raise_does_not_count_by_going_on(tmp_path: Path) -> None:
    disk, run_dir = tmp_path / "disk", tmp_path / "run"

    def train(config: dict[str, int], seed: int) -> float:
        if config["x"] == 2 and not disk.exists():
            raise OSError("the dataset is not there")
        return 1 / config["x"] + seed % 7 / 1000

    common: dict[str, Any] = {"execution": "local", "tracking": None, "retries": 0, "on_failure": "raise", "confirm": 1}
    with pytest.raises(WorkloadError, match="on_failure: raise"):
        search(train, space={"x": [1, 2, 3]}, run_dir=run_dir, progress=False, **common)
    before = (run_dir / "journal.jsonl").read_bytes()
    both = r"1 instance failed for good.*the dataset is not there'.*--retry-failed.*--set race.on_failure=count"
    with pytest.raises(ExperimentError, match=both):
        resume(run_dir, workload=train)
    assert (run_dir / "journal.jsonl").read_bytes() == before
    disk.touch()
    result = resume(run_dir, retry_failed=True, workload=train)
    assert set(result.instances.status) == {"COMPLETE"}
    assert result.verdict.n_instances == len(result.instances)
    assert resume(run_dir, workload=train).verdict == result.verdict
