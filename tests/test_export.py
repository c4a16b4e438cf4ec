"""A search handed on: to Optuna, whose dashboard shows it, and to tables; finished, broken off and with every fate."""

import contextlib
import json
import math
import os
import pty
import re
import socket
import subprocess
import sys
import urllib.request

import numpy as np
import optuna
import pandas as pd
import pytest
from command_line import call, command, finish, shell, typed, write_search
from people import Person
from waiting import wait_for

import raysearch
from raysearch.driver.export import export
from raysearch.driver.run import run
from raysearch.experiment.experiment import from_data
from raysearch.samplers.search_space import Choice, Range
from raysearch.samplers.study import Source, State, Trial, write

pytestmark = pytest.mark.mlflow  # SQLite
PLAIN = {"execution": "local", "tracking": None, "progress": False}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finish(write_search(tmp_path_factory.mktemp("search")))[0]


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('storage') / 'study.db'}"


def study_of(run_dir, url, name):
    """Export a search and return its study, and its trials by what their configurations came to."""
    said = export(run_dir, "optuna", url, study=name)
    study = optuna.load_study(study_name=name, storage=url)
    return said, study, {trial.user_attrs["configuration"]: trial for trial in study.trials}


def test_a_configuration_is_a_trial_its_value_the_criterion_and_its_instances_are_told(finished, url):
    said, study, trials = study_of(finished, url, "whole")
    assert said == "6 configurations are in the study 'whole': 1 COMPLETE, 5 PRUNED."
    table = raysearch.load(finished)
    race = table[table["phase"] == "race"]
    assert set(trials) == set(race["configuration_id"])
    for id_, trial in trials.items():
        rows = race[race["configuration_id"] == id_].sort_values("instance")
        assert trial.params == json.loads(rows["parameters"].iloc[0])
        assert trial.user_attrs["losses"] == rows["loss"].tolist()
        assert trial.user_attrs["seeds"] == rows["seed"].tolist()
        assert trial.user_attrs["n_instances"] == len(rows)
        steps = {n: np.quantile(rows["loss"][:n], 0.75) for n in range(1, len(rows) + 1)}
        assert trial.intermediate_values == pytest.approx(steps)
        assert trial.value == pytest.approx(steps[len(rows)])
        assert trial.distributions["level"].choices == (0.1, 0.2, 0.3)
        assert trial.datetime_start <= trial.datetime_complete
    winner = trials[study.user_attrs["winner"]]
    assert study.best_trial == winner
    assert (winner.user_attrs["standing"], len(winner.user_attrs["confirmation_losses"])) == ("winner", 4)
    out = [trial for trial in study.trials if trial.state.name == "PRUNED"]
    assert all(trial.user_attrs["round"] >= 1 and trial.value >= trial.user_attrs["cutoff"] for trial in out)
    assert study.metric_names == ["q3"]
    study.optimize(lambda trial: trial.suggest_categorical("level", [0.1, 0.2, 0.3]), n_trials=1)  # it may go on there


def test_the_winner_is_who_won_among_the_finalists_and_not_who_led_the_race(url, tmp_path):
    settings = {"seed": 0, "workload": "synthetic", "space": {"level": [0.1, 0.101, 0.102, 0.103]}}
    settings |= {"criterion": "median", "rule": {"name": "halving", "warmup": 1}, "tracking": None}
    settings |= {"name": "overruled", "race": {"confirm": 6, "finalists": 3}, "execution": "local"}
    found = run(from_data(settings), tmp_path / "run").verdict
    assert found.finalists[0].place > 1, "the race's leader lost on fresh seeds"
    _, study, trials = study_of(tmp_path / "run", url, "overruled")
    standings = {id_: trial.user_attrs["standing"] for id_, trial in trials.items()}
    assert [id_ for id_, standing in standings.items() if standing == "winner"] == [found.winner.id]
    assert study.user_attrs["winner"] == found.winner.id
    winner = trials[found.winner.id]
    assert winner.state.name == "COMPLETE"
    assert winner.user_attrs["confirmed"] == found.confirmation.criterion
    assert found.confirmation.criterion == pytest.approx(np.median(winner.user_attrs["confirmation_losses"]))


def test_the_dashboard_shows_it(finished, url, start):
    study_of(finished, url, "seen")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1", free.getsockname()[1]
    program = "import sys; from optuna_dashboard._cli import main; sys.argv[0] = 'optuna-dashboard'; main()"
    words = ["--host", address[0], "--port", address[1], "--server", "wsgiref", "--quiet"]
    server = start(sys.executable, "-c", program, url, *words)

    def ask(path):
        with urllib.request.urlopen(f"http://{address[0]}:{address[1]}/api/{path}") as answer:
            return json.load(answer)

    studies = wait_for("an answer of the dashboard", lambda: ask("studies")["study_summaries"], by=server)
    number = next(one["study_id"] for one in studies if one["study_name"] == "seen")
    told = ask(f"studies/{number}")
    assert [trial["state"] for trial in told["trials"]].count("Pruned") == 5
    [best] = told["best_trials"]
    attributes = {one["key"]: one["value"] for one in best["user_attrs"]}
    assert attributes["standing"] == "winner"
    assert [step["step"] for step in best["intermediate_values"]] == [1, 2, 3, 4]
    assert {one["name"] for one in told["union_search_space"]} == {"level", "spread"}
    assert told["objective_names"] == ["q3"]


# ---- every fate has a state


def fates(space, url, name, folder, **settings):
    """Carry a search of synthetic losses out and return its trials by the standing they came to."""
    data = {"workload": "synthetic", "space": space, "execution": "local", "tracking": None}
    settings = {"criterion": "q3", "rule": {"name": "halving", "warmup": 2}, "race": {"confirm": 2}, **settings}
    run(from_data({**data, **settings}), folder / "run")
    return study_of(folder / "run", url, name)[2].values()


def test_what_diverged_is_a_result_and_what_failed_for_good_is_none(url, tmp_path):
    trials = fates({"level": [0.1, 0.5], "diverging": [0.0, 1.0]}, url, "diverged", tmp_path)
    [diverged, _] = [trial for trial in trials if trial.params["diverging"]]
    assert (diverged.state.name, diverged.value) == ("PRUNED", math.inf)
    assert diverged.user_attrs["n_diverged"] == diverged.user_attrs["n_instances"]

    def train(config, seed):
        if config["level"] > 0.3:
            raise OSError("no such file: weights.bin")
        return config["level"]

    space, rule = {"level": [0.1, 0.2, 0.5]}, {"name": "halving", "warmup": 2}
    raysearch.search(train, space=space, rule=rule, retries=0, run_dir=tmp_path / "failed", **PLAIN)
    _, _, trials = study_of(tmp_path / "failed", url, "failed")
    [failed] = [trial for trial in trials.values() if trial.params["level"] == 0.5]
    assert (failed.state.name, failed.value) == ("FAIL", None)
    assert failed.user_attrs["error"] == "OSError: no such file: weights.bin"
    assert failed.user_attrs["n_failed"] == 2


def test_what_nobody_trained_or_a_person_dropped_or_screening_ended_is_pruned(url, tmp_path):
    def train(config, seed):
        for epoch in range(4):
            yield config["level"] + 0.001 * (seed % 7) + 1 / (epoch + 1)

    space = {"level": {"low": 0, "high": 59}}
    rule = {"name": "surrogate", "start": 8, "delta": 2.0}
    result = raysearch.search(train, space=space, rule=rule, run_dir=tmp_path / "some", **PLAIN)
    _, study, trials = study_of(tmp_path / "some", url, "some")
    never = [one for one in trials.values() if one.user_attrs["standing"] == "never trained"]
    assert len(never) == result.verdict.n_untrained > 0
    assert {(one.state.name, one.value, len(one.intermediate_values)) for one in never} == {("PRUNED", None, 0)}
    assert study.best_trial.user_attrs["configuration"] == result.verdict.winner.id

    result = raysearch.search(
        train,
        space={"level": [0.1 * n for n in range(12)]},
        rule={"name": "halving", "warmup": 2},
        screen={"rule": "median", "n_startup": 2, "first_epoch": 1},
        run_dir=tmp_path / "screened",
        **PLAIN,
    )
    trials = study_of(tmp_path / "screened", url, "screened")[2].values()
    out = [one for one in trials if one.user_attrs["standing"] == "screened out"]
    assert out
    assert {(one.state.name, one.value) for one in out} == {("PRUNED", None)}

    data = {"workload": {"name": "synthetic", "seconds": 0.2}, "space": {"level": [0.1, 0.2, 0.3]}}
    data |= {"execution": "local", "tracking": None, "rule": {"name": "halving", "warmup": 2}}
    run(from_data(data), tmp_path / "dropped", watchers=[Person("drop")])
    trials = study_of(tmp_path / "dropped", url, "dropped")[2].values()
    [dropped] = [one for one in trials if one.user_attrs["standing"] == "dropped by a person"]
    assert dropped.state.name == "PRUNED"
    assert "too large" in dropped.user_attrs["reason"]


def test_a_search_that_has_not_ended_says_so_and_is_exported_again_when_it_has(url, tmp_path):
    told = []

    def train(config, seed):
        told.append(seed)
        if len(told) == 3:
            raise KeyboardInterrupt
        return config["level"] + 0.001 * (seed % 7)

    space, rule = {"level": [0.1, 0.2, 0.3, 0.4]}, {"name": "halving", "warmup": 2}
    with pytest.raises(KeyboardInterrupt):
        raysearch.search(train, space=space, rule=rule, run_dir=tmp_path / "run", **PLAIN)
    said, _, trials = study_of(tmp_path / "run", url, "half")
    assert said.endswith("; the search has not ended: export it again when it has.")
    assert {one.state.name for one in trials.values()} == {"RUNNING", "WAITING"}
    table = call("export", tmp_path / "run", "--to", "csv", tmp_path / "half.csv")
    assert "the search has not ended" in table.output
    raysearch.resume(tmp_path / "run", workload=train)
    done = typed("export", tmp_path / "run", "--to", "optuna", url, "--study", "half")
    assert done.returncode == 2
    assert "the study 'half' holds an earlier state of this search: `--replace` writes it anew" in done.stderr
    done = typed("export", tmp_path / "run", "--to", "optuna", url, "--study", "half", "--replace")
    assert done.returncode == 0, done.stderr
    assert "1 COMPLETE, 3 PRUNED" in done.stdout
    again = typed("export", tmp_path / "run", "--to", "optuna", url, "--study", "half")
    assert "nothing was changed" in again.stdout


def test_several_objectives_are_a_study_of_several_objectives_with_the_same_pareto_set(url, tmp_path):
    def train(config, seed):
        return {"loss": config["a"] + (1 - config["a"]) * (seed % 13) / 13, "size": 10 * config["a"]}

    objectives = ["median", {"name": "iqr"}, {"name": "max", "of": {"metric": "size"}}]
    result = raysearch.search(
        train,
        space={"a": {"low": 0.0, "high": 1.0}},
        sampler={"name": "tpe", "n_configurations": 12, "wave": 6, "objectives": objectives},
        rule={"name": "halving", "warmup": 5},
        run_dir=tmp_path / "run",
        **PLAIN,
    )
    said, study, _ = study_of(tmp_path / "run", url, "pareto")
    assert study.metric_names == ["median", "iqr", "max of size"]
    best = {trial.user_attrs["configuration"]: trial.values for trial in study.best_trials}
    assert best == {point.configuration_id: list(point.values) for point in result.verdict.pareto}
    assert "12 configurations" in said
    distribution = study.trials[0].distributions["a"]
    assert (distribution.low, distribution.high, distribution.step) == (0.0, 1.0, None)


# ---- spaces


@pytest.mark.parametrize(
    ("parameter", "values", "distribution"),
    [
        (Choice(((8,), [8, 16])), [[8, 16]], optuna.distributions.CategoricalDistribution(["[8]", "[8, 16]"])),
        (Choice((1, True, 1.0)), [1.0], optuna.distributions.CategoricalDistribution(["1", "true", "1.0"])),
        (Choice(("a", None)), [None], optuna.distributions.CategoricalDistribution(["a", None])),
        (Choice(("a",)), ["b"], optuna.distributions.CategoricalDistribution(["a", "b"])),
        (Range(1e-4, 1e-1, log=True), [0.01], optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)),
        (Range(1e-4, 1e-1, log=True), [0.5], optuna.distributions.FloatDistribution(1e-4, 0.5, log=True)),
        (Range(0.0, 1.0, step=0.25), [0.75], optuna.distributions.FloatDistribution(0.0, 1.0, step=0.25)),
        (Range(0.0, 1.0, step=0.25), [0.3], optuna.distributions.FloatDistribution(0.0, 1.0)),
        (Range(1, 64, log=True, integer=True), [3], optuna.distributions.IntDistribution(1, 64, log=True)),
        (Range(0, 10, integer=True, step=4), [8], optuna.distributions.IntDistribution(0, 8, step=4)),
        (None, [3, 7], optuna.distributions.IntDistribution(3, 7)),
        (None, [0.5, 2], optuna.distributions.FloatDistribution(0.5, 2.0)),
        (None, ["x", 2], optuna.distributions.CategoricalDistribution(["x", 2])),
    ],
)
def test_distributions_are_those_of_the_space_and_hold_whatever_was_trained(
    url, request, parameter, values, distribution
):
    trials = [Trial({"p": value}, State.COMPLETE, (float(n),)) for n, value in enumerate(values)]
    known = {} if parameter is None else {"p": parameter}
    assert write(url, request.node.name, Source("search", 1, ("q3",)), trials, known)
    study = optuna.load_study(study_name=request.node.name, storage=url)
    assert [trial.distributions["p"] for trial in study.trials] == [distribution] * len(values)
    plain = [trial.params["p"] for trial in study.trials]
    assert [json.loads(one) if isinstance(one, str) and one[0] in "[1t" else one for one in plain] == values


def test_an_export_that_broke_off_is_written_again_and_a_strangers_study_never(url):
    source, trials = Source("search", 1, ("q3",)), [Trial({"p": 1}, State.COMPLETE, (1.0,))]
    torn = optuna.create_study(storage=url, study_name="torn")
    torn.set_user_attr("raysearch.search", "search")
    assert write(url, "torn", source, trials, {})
    assert len(optuna.load_study(study_name="torn", storage=url).trials) == 1
    assert not write(url, "torn", source, trials, {})
    optuna.create_study(storage=url, study_name="strange")
    with pytest.raises(raysearch.RaysearchError, match="there is a study 'strange' already, and it is not of this"):
        write(url, "strange", source, trials, {}, anew=True)


def test_a_space_that_a_function_defines_is_known_by_what_was_seen(url, tmp_path):
    def space(trial):
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            trial.suggest_int("depth", 1, 9)

    sampler, rule = {"name": "random", "n_configurations": 5}, {"name": "halving", "warmup": 2}
    found = raysearch.search(
        lambda config, seed: config.get("depth", 5),
        space=space,
        sampler=sampler,
        rule=rule,
        run_dir=tmp_path / "run",
        **PLAIN,
    )
    said, _, trials = study_of(tmp_path / "run", url, "function")
    assert "Its space is a Python function: ranges and choices are those seen." in said
    assert len(trials) == found.verdict.n_configurations
    assert set(trials[found.verdict.winner.id].distributions) == set(found.verdict.winner.parameters)


# ---- tables, mistakes


def test_tables_hold_every_instance(finished, tmp_path):
    table = raysearch.load(finished)
    for to, read in (("csv", pd.read_csv), ("parquet", pd.read_parquet)):
        path = tmp_path / f"instances.{to}"
        assert call("export", finished, "--to", to, path).output == f"25 instances are in {path}.\n"
        read_back = read(path)
        assert list(read_back.columns) == list(table.columns)
        assert read_back["loss"].tolist() == table["loss"].tolist()
        done = typed("export", finished, "--to", to, path)
        assert (done.returncode, done.stderr) == (
            2,
            f"raysearch: error: {path} is there already: `--replace` writes it anew, or name another file\n",
        )
        assert call("export", finished, "--to", to, path, "--replace").exit_code == 0
    assert json.loads(pd.read_csv(tmp_path / "instances.csv")["curve"][0]) == list(table["curve"][0])


@pytest.mark.parametrize(
    ("to", "where", "message"),
    [
        ("optun", "sqlite:///x.db", "unknown target of an export 'optun'. Did you mean 'optuna'? Known: csv, optuna, "),
        ("optuna", "x.db", "'x.db' is no address of a storage of Optuna: write e.g. sqlite:///study.db"),
        ("optuna", "sqlite:////nowhere/x.db", "cannot open the storage sqlite:////nowhere/x.db: "),
        ("optuna", "nosuch://x", "cannot open the storage nosuch://x: "),
        ("optuna", "sqlite:///{file}", "file is not a database"),
        ("optuna", "mysql://me:secret@localhost/x", "cannot open the storage mysql://me:***@localhost/x: "),
        ("csv", "sqlite:///x.db", "sqlite:///x.db is the address of a storage: a csv export goes to a file"),
        ("csv", "{folder}", "it is a directory. Name a file in it"),
        ("csv", "/nowhere/x.csv", "cannot write /nowhere/x.csv: "),
        ("parquet", "/nowhere/x.parquet", "cannot write /nowhere/x.parquet: "),
    ],
)
def test_a_mistake_is_one_line(finished, tmp_path, to, where, message):
    (tmp_path / "text").write_text("no database, however long it is" * 100)
    done = typed("export", finished, "--to", to, where.format(folder=tmp_path, file=tmp_path / "text"))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "secret" not in done.stderr


def at_a_terminal(*arguments):
    """Run a command whose output is a terminal, to its end, and return what it wrote there."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command(*arguments), stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        written = b""
        with contextlib.suppress(OSError):  # so a terminal says that nobody writes any more
            while part := os.read(ours, 1 << 16):
                written += part
    os.close(ours)
    assert process.returncode == 0, written
    return written.decode()


@pytest.mark.parametrize(
    ("to", "doing"), [("optuna", "writing trials"), ("csv", "writing instances"), ("parquet", "writing instances")]
)
def test_a_terminal_shows_how_far_it_is_and_a_pipe_the_end_alone(finished, tmp_path, to, doing):
    where = [f"sqlite:///{tmp_path}/{name}.db" if to == "optuna" else f"{tmp_path}/{name}.{to}" for name in "ab"]
    shown = at_a_terminal("export", finished, where[0], "--to", to)
    assert doing in shown
    assert "\x1b[" in shown
    if to == "optuna":
        assert "6 of 6" in shown
    piped = shell("export", finished, where[1], "--to", to)
    assert piped.returncode == 0
    [said] = piped.stdout.splitlines()
    assert re.search(r"^\d+ (configurations|instances) are in ", said)
    assert "\x1b" not in said + piped.stderr
    assert said.split(" are in ")[0] in shown.split(doing)[-1], "the bar goes, what was written stays"


def test_a_table_written_in_parts_is_the_table(finished, tmp_path, monkeypatch):
    export(finished, "csv", str(tmp_path / "whole.csv"))
    monkeypatch.setattr("raysearch.driver.export._ROWS_AT_ONCE", 4)
    heard = []
    export(finished, "csv", str(tmp_path / "parts.csv"), show=lambda *told: heard.append(told))
    assert (tmp_path / "parts.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    n = len(raysearch.load(finished))
    assert heard == [("reading the journal", 0, None), *(("writing instances", i, n) for i in range(0, n, 4))]
