"""The command line as a user types it: in this process where that is the same, in its own where it is not."""

import json
import re
import signal
from pathlib import Path

import jsonschema
import pytest
import yaml
from command_line import SEARCH, call, command, finish, shell, typed, write_search
from waiting import wait_for

import raysearch
from raysearch import registry
from raysearch.experiment.experiment import from_data
from raysearch.storage.journal import read

SPACES = Path(__file__).parents[1] / "search_spaces"


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return write_search(tmp_path_factory.mktemp("search"))


@pytest.fixture(scope="module")
def finished(file):
    """A finished search: its directory and what the command printed."""
    return finish(file)


def test_plan_shows_what_a_search_costs(file):
    result = call("plan", file, "--set", "race.confirm=100")
    assert result.exit_code == 0
    assert re.search(r"configurations +6 *\n", result.output)
    assert re.search(rf"instances by halving\(warmup=3\) +{6 * 3 + 3 + 100} *\n", result.output)
    assert re.search(r"instances by exhaustive search +300 *\n", result.output)


@pytest.mark.parametrize("name", ["energy", "position"])
def test_plan_gives_the_papers_numbers(name):
    result = call("plan", SPACES / f"calorimeter_{name}.yaml")
    assert result.exit_code == 0, result.output
    for number in ("6912", "41567", "345600"):
        assert re.search(rf" {number} *\n", result.output), result.output


def test_a_run_ends_with_winner_confirmation_cost_and_where_to_look(finished):
    run_dir, output = finished
    assert "Winner" in output
    assert "level = 0.1" in output
    assert "spread = 0.01" in output
    assert re.search(r"^fresh seeds +4 ", output, re.MULTILINE)
    assert re.search(r"Spent 25 instances.* for 6 configurations;\nexhaustive search: 300", output)
    assert str(run_dir / "report.html") in output
    assert "mlflow ui" not in output, "nothing was logged to MLflow"
    for name in ("journal.jsonl", "experiment.yaml", "instances.parquet", "report.html"):
        assert (run_dir / name).stat().st_size > 0
    assert len(raysearch.load(run_dir)) == 25


def test_status_of_a_finished_search(finished):
    result = call("status", finished[0])
    assert result.exit_code == 0
    assert "tiny: finished" in result.output
    assert re.search(r"configurations left +1 of 6", result.output)
    assert re.search(r"instances finished +25 of about 25", result.output)
    assert "Winner" in call("status", finished[0], "--follow").output


@pytest.mark.figures
def test_report_is_written_again_elsewhere(finished, tmp_path):
    result = call("report", finished[0], "--out", tmp_path / "again.html")
    assert result.exit_code == 0
    assert (tmp_path / "again.html").read_text().lower().count("<svg") > 0
    assert str(tmp_path / "again.html") in result.output


def test_a_report_is_not_written_over_a_directory(finished, tmp_path):
    done = typed("report", finished[0], "--out", tmp_path)
    assert done.returncode == 2
    assert (
        done.stderr == f"raysearch: error: cannot write the report {tmp_path}: it is a directory. Name a file in it\n"
    )
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    done = typed("report", finished[0], "--out", tmp_path / "file" / "report.html")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


def test_resume_of_a_finished_search_trains_nothing_and_then_only_what_is_new(finished):
    run_dir = finished[0]
    before = (run_dir / "journal.jsonl").read_bytes()
    result = call("resume", run_dir)
    assert result.exit_code == 0, result.output
    assert "mlflow ui" not in result.output
    new = (run_dir / "journal.jsonl").read_bytes().removeprefix(before).splitlines()
    assert [json.loads(line)["event"] for line in new] == ["resume"]
    result = call("resume", run_dir, "--set", "race.confirm=6")
    assert "Spent 27 instances" in result.output
    assert len(raysearch.load(run_dir)) == 27
    result = call("resume", run_dir, "--set", "workload.epochs=3")
    assert result.exit_code != 0
    assert "'workload' cannot change when a search goes on" in str(result.exception)


@pytest.mark.parametrize("room", ["criteria", "rules", "samplers", "workloads", "execution", "tracking"])
def test_list_names_every_plugin_with_its_parameters(room):
    result = call("list", room)
    assert result.exit_code == 0
    for name in registry.names(room):
        assert re.search(rf"^{name}\(", result.output, re.MULTILINE)


def test_version():
    assert call("--version").output == f"{raysearch.__version__}\n"


# ---- schema


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(call("schema").output)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_schema_accepts_every_file_that_comes_along(validator):
    files = {path.name: yaml.safe_load(path.read_text()) for path in SPACES.glob("*.yaml")}
    assert len(files) > 5
    assert {name: errors for name, data in files.items() if (errors := list(validator.iter_errors(data)))} == {}


@pytest.mark.parametrize(
    "change",
    [
        {"execution": {"gpus": 0.25}},
        {"execution": {"timeout_s": 600}},
        {"execution": {"checkpoints": "/shared/folder"}},
        {"tracking": {"weights": "all"}},
        {"rule": {"warmup": 3}},
        {"execution": {"debug": True}},
        {"criterion": {"q": 0.5}},
        {"criterion": {"q": 0.5, "of": "noise_resilience"}},
        {"measures": [{"n_bins": 5}, {"n_bins": 5, "of": "all"}]},
    ],
    ids=str,
)
def test_the_schema_accepts_sections_without_a_name_that_the_parser_accepts(validator, change):
    from_data({**SEARCH, **change})
    validator.validate({**SEARCH, **change})


@pytest.mark.parametrize(
    "change",
    [
        {"execution": {"gpuz": True}},
        {"criterion": {"p": 0.5}},
        {"criterion": {"of": "noise_resilience"}},
        {"workload": {"epochs": 3}},
        {"rule": {"budget": 30}},
        {"measures": [{"n_examples": 5}]},
        {"rac": {}},
        {"race": {"confrim": 3}},
        {"race": {"confirm": -1}},
        {"criterion": "q33"},
        {"criterion": {"name": "quantile", "p": 0.5}},
        {"rule": {"name": "halving", "warmup": "five"}},
        {"workload": {"name": "synthetic", "epoch": 3}},
        {"tracking": "mlfow"},
        {"seed": "one"},
        {"space": [1]},
    ],
    ids=str,
)
def test_the_schema_refuses_what_the_parser_refuses(validator, change):
    validator.validate(SEARCH)
    assert not validator.is_valid({**SEARCH, **change})


# ---- errors: exit code 2, one clear line, no traceback


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "nowhere.yaml"], "cannot read the experiment file nowhere.yaml: No such file"),
        (["plan", "{file}", "--set", "criterion=q33"], "criterion: unknown name in criteria 'q33'. Did you mean 'q3'?"),
        (["run", "{file}", "--run-dir", "{run_dir}"], "holds a search already. Go on with it by `raysearch resume"),
        (["status", "nowhere"], "nowhere is no run directory: it holds no journal.jsonl"),
        (["list", "criterias"], "unknown room 'criterias'. Did you mean 'criteria'?"),
        (["sync", "{run_dir}"], "this search has no tracker"),
    ],
)
def test_a_mistake_ends_in_one_line_and_exit_code_2(finished, file, arguments, message):
    filled = [argument.format(file=file, run_dir=finished[0]) for argument in arguments]
    done = typed(*filled)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("raysearch: error: ")
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


def test_an_interrupted_run_says_how_to_go_on_and_goes_on(file, tmp_path, start):
    run_dir, marks = tmp_path / "run", tmp_path / "marks"
    marks.mkdir()
    # its fourth instance hangs, once: until it is interrupted, the run cannot end
    hangs = f"workload={{name: synthetic, epochs: 2, fail: 0.05, failure: hang, fail_once_in: '{marks}'}}"
    driver = start(*command("run", file, "--run-dir", run_dir, "--set", hangs))
    wait_for("an instance to hang", lambda: list(marks.iterdir()), by=driver)
    driver.send_signal(signal.SIGINT)
    _, errors = driver.communicate()
    assert driver.returncode == 130, errors
    assert f"raysearch: interrupted. Nothing is lost: `raysearch resume {run_dir}` goes on" in errors
    assert "Traceback" not in errors
    told = [event for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]
    assert len(told) == 3
    done = shell("resume", run_dir)
    assert done.returncode == 0, done.stderr
    assert "Spent 25 instances" in done.stdout
    again = [event for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]
    assert again[: len(told)] == told
    assert len({(event["configuration"], event["seed"]) for event in again}) == len(again) == 25


def test_a_directory_that_cannot_be_written_is_one_line(file, tmp_path):
    (tmp_path / "taken").touch()
    done = typed("run", file, "--run-dir", tmp_path / "taken" / "run")
    assert done.returncode == 2
    assert "cannot make the run directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1
