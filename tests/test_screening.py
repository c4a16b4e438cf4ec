"""First instances that end at a rung: their configurations are out, criteria stay those of whole trainings."""

import math
from pathlib import Path
from typing import Any

import pytest

from raysearch.driver import run
from raysearch.driver.resume import resume
from raysearch.driver.search import search
from raysearch.errors import UnknownNameError
from raysearch.execution.watch import ScreenedOut, Watch
from raysearch.experiment.experiment import from_data
from raysearch.race.screening import Screening
from raysearch.storage.decoding import entries
from raysearch.storage.instances import to_frame
from raysearch.storage.journal import read

CURVES = [(float(n), float(n), n / 2, 0.0) for n in range(1, 9)]  # epoch 1: 1 .. 8, epoch 3: .5 .. 4


def test_the_median_rule_stops_the_worse_half_at_every_rung() -> None:
    assert Screening("median").cutoffs(CURVES) == {1: 4.0, 3: 2.0}


def test_successive_halving_keeps_one_of_factor() -> None:
    assert Screening("halving", factor=3).cutoffs(CURVES) == {1: 3.0, 3: 1.5}


def test_nothing_is_stopped_before_enough_curves_have_reached_a_rung() -> None:
    assert Screening(n_startup=9).cutoffs(CURVES) == {}
    short = [curve[:1] for curve in CURVES[:3]] + CURVES[3:]
    assert Screening(n_startup=6).cutoffs(short) == {1: 4.0}


def test_diverged_curves_count_as_bad() -> None:
    curves = [(math.nan, 0.0), (math.inf, 0.0), *[(float(n), 0.0) for n in range(1, 7)]]
    assert Screening("median").cutoffs(curves) == {1: 4.0}


@pytest.mark.parametrize("loss", [4.1, math.nan, math.inf])
def test_a_watch_ends_a_training_above_the_cutoff(loss: float) -> None:
    watch = Watch({2: 4.0})
    watch(1, 9.0)
    with pytest.raises(ScreenedOut) as out:
        watch(2, loss)
    assert len(out.value.curve) == 2
    Watch({2: 4.0})(2, 9.0)  # its first report is its first epoch


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'median'"):
        Screening("medain")
    with pytest.raises(ValueError, match="factor must be at least 2, got 1"):
        Screening(factor=1)


DATA: dict[str, Any] = {
    "name": "screened",
    "workload": {"name": "synthetic", "epochs": 9, "pairing": 0.0},
    "space": {"level": [round(0.2 + 0.05 * n, 2) for n in range(24)], "spread": [0.01]},
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 3, "screen": {"rule": "median"}},
    "execution": "local",
    "tracking": None,
}


def train(config: dict[str, Any], seed: int) -> Any:
    for epoch in range(9):
        yield config["level"] + seed % 101 / 10000 + 1 / (epoch + 1)


@pytest.fixture(scope="module")
def screened(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("screened") / "run"
    search(
        train,
        space={"level": [round(0.2 + 0.05 * ((7 * n) % 24), 2) for n in range(24)]},
        rule=DATA["rule"],
        confirm=3,
        screen={"rule": "median"},
        execution="local",
        tracking=None,
        run_dir=run_dir,
        progress=False,
    )
    return run_dir


def test_bad_configurations_leave_after_few_epochs_and_the_best_one_wins(screened: Path) -> None:
    events = list(read(screened / "journal.jsonl"))
    out = [event for event in events if event["event"] == "screen"]
    told = [event for event in events if event["event"] == "tell"]
    assert len(out) > 6
    assert all(len(event["curve"]) in (1, 3) for event in out)
    assert all(len(event["curve"]) == 9 for event in told), "criteria are computed from whole trainings"
    winner = next(event["winner"] for event in events if event["event"] == "verdict")
    parameters = {id_: p for event in events if event["event"] == "pool" for id_, p in event["configurations"]}
    assert parameters[winner] == {"level": 0.2}
    asked_after = {e["configuration"] for e in told} & {e["configuration"] for e in out}
    assert not asked_after, "a configuration that was screened out was trained again"


def test_the_cost_is_counted_in_epochs_too(screened: Path) -> None:
    result = resume(screened, workload=train)
    frame = to_frame(entries(read(screened / "journal.jsonl")))
    assert result.verdict.n_epochs == frame["epochs"].sum()
    assert result.verdict.n_epochs < 9 * result.verdict.n_instances
    assert (frame[frame["status"] == "STOPPED"]["epochs"] > 0).all()
    page = (screened / "report.html").read_text(encoding="utf-8")
    n_screened = sum(event["event"] == "screen" for event in read(screened / "journal.jsonl"))
    assert f"{n_screened} configurations were out after some epochs" in page
    assert f"{n_screened} of them screened out early, {result.verdict.n_epochs} epochs" in page


def test_a_screened_race_is_rebuilt_from_any_prefix_of_its_journal(screened: Path, tmp_path: Path) -> None:
    lines = (screened / "journal.jsonl").read_bytes().splitlines(keepends=True)
    whole = resume(screened, workload=train).verdict
    for n_lines in (20, 33, 47):
        part = tmp_path / str(n_lines)
        part.mkdir()
        (part / "journal.jsonl").write_bytes(b"".join(lines[:n_lines]))
        assert resume(part, workload=train).verdict.winner == whole.winner


def test_screening_on_ray(ray_cluster: None, tmp_path: Path) -> None:
    result = run(from_data({**DATA, "execution": "ray_tune"}), tmp_path / "run")
    assert result.verdict.winner.parameters["level"] == 0.2
    frame = result.instances
    assert (frame["status"] == "STOPPED").sum() > 5
    assert set(frame[frame["status"] == "COMPLETE"]["epochs"]) == {9}
