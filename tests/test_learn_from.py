"""An earlier search teaches another one, and what it trained is not trained again: real runs, in this process."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import raysearch
from raysearch.analysis.console import print_plan
from raysearch.driver.resume import resume
from raysearch.driver.run import build, plan, run
from raysearch.driver.status import race_of, read_status
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read
from raysearch.workloads.synthetic import Synthetic

SPACE = {"level": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5], "spread": [0.05, 0.1]}
SEARCH: dict[str, Any] = {
    "name": "earlier",
    "seed": 5,
    "workload": {"name": "synthetic", "epochs": 2},
    "space": SPACE,
    "criterion": "median",
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 3},
    "execution": "local",
    "tracking": None,
}


def search(**changes: Any) -> raysearch.Experiment:
    return from_data({**SEARCH, **changes})


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier") / "run"
    run(search(), folder)
    return folder


def decided(run_dir: Path) -> list[Any]:
    """Return what a journal says was decided."""
    lines = [line for line in read(run_dir / "journal.jsonl") if line["event"] in ("eliminate", "verdict")]
    return [{key: value for key, value in line.items() if key not in ("t", "n_seen")} for line in lines]


def test_what_was_trained_counts_and_changes_no_decision(earlier: Path, tmp_path: Path, monkeypatch: Any) -> None:
    trained: list[Any] = []
    instance = Synthetic._instance

    def counted(self: Any, configuration: Any, seed: int, report: Any) -> Any:
        trained.append((configuration.id, seed))
        return instance(self, configuration, seed, report)

    longer = {"name": "halving", "warmup": 4}
    alone = run(search(name="later", rule=longer), tmp_path / "alone")
    monkeypatch.setattr(Synthetic, "_instance", counted)
    taught = run(search(name="later", rule=longer, learn_from=[str(earlier)]), tmp_path / "taught")

    assert decided(tmp_path / "taught") == decided(tmp_path / "alone")
    told = taught.instances
    known = raysearch.load(earlier).query("phase == 'race'")
    before = set(zip(known["configuration_id"], known["seed"], strict=True))
    asked = set(zip(told["configuration_id"], told["seed"], strict=True))
    assert len(before & asked) >= 20
    assert set(trained) == asked - before
    assert (told["node"] == f"learnt from {earlier}").sum() == len(before & asked)
    columns = ["configuration_id", "seed", "loss", "status"]
    ordered = [frame[columns].sort_values(["configuration_id", "seed"]) for frame in (told, alone.instances)]
    assert ordered[0].to_numpy().tolist() == ordered[1].to_numpy().tolist()
    said = f"learnt from {earlier} (earlier): {len(before)} instances of 12 configurations"
    assert f"{said}; {len(before & asked)} of them count here and were not trained again" in taught.verdict.note


def test_it_is_in_plan_status_and_report(earlier: Path, tmp_path: Path) -> None:
    experiment = search(learn_from=[str(earlier)])
    console = Console(record=True, width=400)
    print_plan(console, "later", plan(experiment), "halving")
    assert "those asked for here are not trained again" in console.export_text()
    run(experiment, tmp_path / "run")
    console = Console(record=True, width=1000)
    read_status(tmp_path / "run").print(console)
    assert "of them count here and were not trained again" in console.export_text()
    assert "of them count here and were not trained again" in (tmp_path / "run" / "report.html").read_text()


def test_an_unfinished_search_says_what_it_learnt(earlier: Path, tmp_path: Path) -> None:
    run(search(learn_from=[str(earlier)]), tmp_path / "run")
    cut_off(tmp_path / "run", after=8)
    console = Console(record=True, width=400)
    read_status(tmp_path / "run").print(console)
    assert f"learnt from {earlier}" in console.export_text()


def cut_off(run_dir: Path, after: int) -> None:
    """Leave as much of a journal as was there after so many results."""
    lines = (run_dir / "journal.jsonl").read_text().splitlines(keepends=True)
    told = [number for number, line in enumerate(lines) if json.loads(line)["event"] == "tell"]
    (run_dir / "journal.jsonl").write_text("".join(lines[: told[after] + 1]))


@pytest.mark.parametrize("after", [2, 25])
def test_a_search_goes_on_where_the_earlier_one_is_gone(earlier: Path, tmp_path: Path, after: int) -> None:
    shutil.copytree(earlier, tmp_path / "old")
    experiment = search(rule={"name": "halving", "warmup": 4}, learn_from=[str(tmp_path / "old")])
    whole = run(experiment, tmp_path / "run")
    wanted = decided(tmp_path / "run")
    cut_off(tmp_path / "run", after)
    shutil.rmtree(tmp_path / "old")
    again = resume(tmp_path / "run")
    assert decided(tmp_path / "run") == wanted
    assert again.verdict == whole.verdict
    [line] = [line for line in read(tmp_path / "run" / "journal.jsonl") if line["event"] == "learn"]
    assert len(line["digest"]) == 64
    assert line["counts"] is True


def test_a_driver_that_dies_before_it_learnt_learns_when_it_goes_on(earlier: Path, tmp_path: Path) -> None:
    experiment = search(learn_from=[str(earlier)])
    whole = run(experiment, tmp_path / "run")
    path = tmp_path / "run" / "journal.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])  # its start alone
    again = resume(tmp_path / "run")
    assert again.verdict.note == whole.verdict.note
    assert [line["event"] for line in read(path)][:4] == ["start", "resume", "learn", "pool"]


def test_of_another_seed_it_teaches_and_does_not_count(earlier: Path, tmp_path: Path) -> None:
    rule = {"name": "surrogate", "start": 8, "finalists": 2, "certify": 3, "cap": 4, "batch": 2}
    result = run(search(seed=6, rule=rule, learn_from=[str(earlier)]), tmp_path / "run")
    assert "none of them counts here: its seed is 5, here it is 6: with `seed: 5` they would" in result.verdict.note
    assert not result.instances["node"].str.startswith("learnt from").any()
    race, _, _ = race_of(tmp_path / "run")
    [lesson] = race.state.learnt.lessons
    assert lesson.alike
    assert not lesson.shared
    assert len(lesson.configurations) == 12


def test_tpe_begins_where_the_earlier_search_ended(earlier: Path, tmp_path: Path) -> None:
    sampler = {"name": "tpe", "n_configurations": 8, "wave": 4}
    space = {"level": {"low": 1.0, "high": 3.0}, "spread": [0.05, 0.1]}
    wide = search(
        space=space, sampler={"name": "random", "n_configurations": 30}, rule={"name": "halving", "warmup": 1}
    )
    run(wide, tmp_path / "wide")
    taught = search(space=space, sampler=sampler, learn_from=[str(tmp_path / "wide")])

    def levels(experiment: Any) -> list[float]:
        return [one.parameters["level"] for one in build(experiment).first_wave]

    assert max(levels(taught)) < 2.0 < max(levels(search(space=space, sampler=sampler)))
    other = {"name": "synthetic", "epochs": 3}
    assert levels(search(space=space, sampler=sampler, workload=other, learn_from=taught.learn_from)) == levels(taught)
    whole = run(taught, tmp_path / "run")
    shutil.rmtree(tmp_path / "wide")
    cut_off(tmp_path / "run", 9)
    assert resume(tmp_path / "run").verdict == whole.verdict


def train(config: dict[str, Any], seed: int) -> float:
    return float(config["level"]) + seed % 97 / 1000


def test_a_function_teaches_only(tmp_path: Path) -> None:
    quiet = {"execution": "local", "tracking": None, "progress": False, "confirm": 1}
    space = {"level": [1, 2, 3], "spread": [4, 5, 6]}
    raysearch.search(train, space=space, run_dir=tmp_path / "one", rule={"name": "halving", "warmup": 1}, **quiet)
    result = raysearch.search(train, space=space, rule="surrogate", learn_from=[tmp_path / "one"], **quiet)
    assert "none of them counts here: what a Python function did then, nobody can know" in result.verdict.note
    with pytest.raises(ExperimentError, match=r"learn_from.*neither the sampler grid nor the rule halving learns"):
        raysearch.search(train, space=space, rule="halving", learn_from=[tmp_path / "one"], **quiet)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"workload": "digits", "space": {"hidden": [[4]]}},
            r"it trained the workload synthetic, this search .* digits",
        ),
        (
            {"space": {"level": [1.0, 1.1], "bad": [0.1]}},
            r"it has other parameters: level, spread, .* Not in both: bad, spread",
        ),
        ({"criterion": {"name": "median", "of": {"metric": "x"}}}, r"it judged median, .* its numbers are no x"),
        (
            {"workload": {"name": "synthetic", "epochs": 3}},
            r"nothing of it .* \(its workload had other settings\), and n",
        ),
        ({"seed": 4}, r"nothing of it is of use here: its instances do not count \(its seed is 5, here it is 4"),
    ],
)
def test_what_cannot_teach_is_refused(earlier: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=rf"learn_from, {earlier}: {message}"):
        plan(search(**changes, learn_from=[str(earlier)]))


def test_a_directory_that_is_no_run_an_unfinished_one_and_one_named_twice(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=rf"learn_from, {tmp_path}: {tmp_path} is no run directory"):
        plan(search(learn_from=[str(tmp_path)]))
    with pytest.raises(ExperimentError, match=r"learn_from, .*: it is there twice: leave one out"):
        plan(search(learn_from=[str(earlier), str(earlier)]))
    shutil.copytree(earlier, tmp_path / "open")
    cut_off(tmp_path / "open", 10)
    with pytest.raises(ExperimentError, match=r"this search has not ended: `raysearch resume .*open` ends it"):
        plan(search(learn_from=[str(tmp_path / "open")]))
    path = tmp_path / "open" / "journal.jsonl"
    path.write_text(path.read_text().replace('"loss"', '"lost"', 1))
    with pytest.raises(ExperimentError, match=r"learn_from, .*open: line \d+ of the journal"):
        plan(search(learn_from=[str(tmp_path / "open")]))


def test_it_cannot_change_when_a_search_goes_on(earlier: Path, tmp_path: Path) -> None:
    run(search(), tmp_path / "run")
    with pytest.raises(ExperimentError, match="'learn_from' cannot change when a search goes on"):
        resume(tmp_path / "run", {"learn_from": [str(earlier)]})


def guided(**changes: Any) -> raysearch.Experiment:
    """Return a search by `surrogate` of more configurations than it tries at random."""
    rule = {"name": "surrogate", "start": 16, "finalists": 2, "certify": 3, "cap": 4, "batch": 2}
    wide = {"level": [1 + step / 20 for step in range(12)], "spread": [0.05, 0.1, 0.15]}
    return search(seed=6, space=wide, rule=rule, **changes)


def test_the_status_knows_that_less_is_tried_at_random(earlier: Path, tmp_path: Path) -> None:
    taught = guided(learn_from=[str(earlier)])
    run(taught, tmp_path / "run")
    cut_off(tmp_path / "run", after=3)
    assert read_status(tmp_path / "run").progress.n_expected == plan(taught).n_instances[0]


def test_the_plan_knows_that_less_is_tried_at_random(earlier: Path, tmp_path: Path) -> None:
    alone, taught = plan(guided()), plan(guided(learn_from=[str(earlier)]))
    # 16 and a second instance of 6, or, as 12 configurations are known, 4 and a second instance of 2
    assert alone.n_instances[0] - taught.n_instances[0] == (16 + 6) - (4 + 2)
    assert taught.n_instances[1] < alone.n_instances[1]
    console = Console(record=True, width=400)
    print_plan(console, "later", taught, "surrogate")
    told = f"learns enough to need {taught.n_instances[0]} instances at least, not {alone.n_instances[0]}"
    assert told in console.export_text()
    result = run(guided(learn_from=[str(earlier)]), tmp_path / "run")
    assert taught.n_instances[0] <= len(result.instances) <= taught.n_instances[1]
