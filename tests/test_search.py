"""`raysearch.search` from Python: any model of the user, in this process, without Ray and without MLflow."""

import math
import re
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

import raysearch
from raysearch.criteria.quantile import Quantile
from raysearch.driver.resume import resume
from raysearch.errors import ExperimentError, RunDirectoryError, WorkloadError
from raysearch.rules.halving import Halving
from raysearch.storage.journal import read
from raysearch.workloads.synthetic import Synthetic

HERE = {"execution": "local", "tracking": None, "progress": False}
SPACE = {"shift": [0.3, 0.1, 0.2], "width": [0.02, 0.01]}


def noisy(config, seed):
    return config["shift"] + config["width"] * abs(np.random.default_rng(seed).normal())


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("search") / "run"
    return raysearch.search(
        noisy, space=SPACE, rule=Halving(warmup=3), criterion="q3", confirm=10, run_dir=run_dir, **HERE
    )


def test_the_robust_configuration_is_found_and_confirmed(found):
    verdict = found.verdict
    assert dict(verdict.winner.parameters) == {"shift": 0.1, "width": 0.01}
    assert verdict.n_instances == 6 * 3 + 3 + 10
    assert verdict.n_exhaustive == 300
    assert verdict.confirmation.n_instances == 10
    low, high = found.interval
    assert low <= verdict.confirmation.criterion <= high
    assert verdict.criterion == "q3"


def test_every_instance_is_in_the_table(found):
    table = found.instances
    assert len(table) == 31
    winner = table[(table["p.shift"] == 0.1) & (table["p.width"] == 0.01)]
    expected = [noisy({"shift": 0.1, "width": 0.01}, seed) for seed in winner.seed]
    assert winner.loss.tolist() == expected
    assert set(table.status) == {"COMPLETE"}


def test_the_same_seed_finds_the_same_and_another_trains_others(found, tmp_path):
    asked = {"space": SPACE, "rule": Halving(warmup=3), "criterion": "q3", "confirm": 10, **HERE}
    same, other = (raysearch.search(noisy, seed=seed, run_dir=tmp_path / str(seed), **asked) for seed in (0, 1))
    columns = ["configuration_id", "seed", "phase", "loss"]
    assert same.instances[columns].equals(found.instances[columns])
    assert set(other.instances.seed).isdisjoint(found.instances.seed)


def test_plugins_may_be_names_sections_or_objects(tmp_path):
    for number, criterion in enumerate(("max", {"name": "quantile", "q": 0.8}, Quantile(q=0.8))):
        asked = {"space": {"shift": (0.1, 0.2), "width": [0.01]}, "rule": {"name": "halving", "warmup": 2}, **HERE}
        found = raysearch.search(noisy, criterion=criterion, confirm=0, run_dir=tmp_path / str(number), **asked)
        assert found.verdict.winner.parameters["shift"] == 0.1
        assert found.verdict.confirmation is None
        assert found.interval is None


def test_a_workload_may_be_named(tmp_path):
    space = {"level": [0.1, 0.9]}
    found = raysearch.search("synthetic", space=space, rule=Halving(2), confirm=2, run_dir=tmp_path / "a", **HERE)
    assert found.verdict.winner.parameters == {"level": 0.1}
    section = {"name": "synthetic", "epochs": 3}
    found = raysearch.search(section, space=space, rule=Halving(2), confirm=2, run_dir=tmp_path / "b", name="b", **HERE)
    assert set(found.instances.epochs) == {3}


@pytest.mark.parametrize("rule", [None, Halving(2)])
def test_configurations_are_proposed_once(rule, tmp_path):
    called = []

    def space(trial):
        called.append(trial.suggest_float("shift", 0.0, 1.0))
        trial.suggest_categorical("width", [0.01])

    found = raysearch.search(
        noisy,
        space=space,
        sampler={"name": "tpe", "n_configurations": 4, "wave": 4},
        rule=rule,
        run_dir=tmp_path / "run",
        **HERE,
    )
    assert len(called) == 4
    assert sorted(set(found.instances["p.shift"])) == sorted(called)


@dataclass(frozen=True)
class Unchecked:
    def prepare(self): ...

    def train(self, configuration, seeds, report, data): ...


def test_an_object_that_is_a_workload_only_in_part_is_refused(tmp_path):
    with pytest.raises(ExperimentError, match=r"Unchecked has a `prepare`, as workloads have, but no `check`$"):
        raysearch.search(Unchecked(), space=SPACE, run_dir=tmp_path / "run", **HERE)


def test_losses_that_diverge_stay_visible_and_lose(tmp_path):
    def fit(config, seed):
        return math.nan if config["a"] == 1 else 0.5

    found = raysearch.search(fit, space={"a": [1, 2]}, rule=Halving(2), confirm=1, run_dir=tmp_path / "run", **HERE)
    assert found.verdict.winner.parameters == {"a": 2}
    table = found.instances
    assert set(table[table["p.a"] == 1].status) == {"DIVERGED"}
    assert np.isinf(table[table["p.a"] == 1].loss).all()


def test_a_crash_is_tried_again_and_then_counts_with_its_traceback(tmp_path):
    def fit(config, seed):
        if config["a"] == 1:
            raise RuntimeError("out of luck")
        return 0.5

    found = raysearch.search(
        fit, space={"a": [1, 2]}, rule=Halving(2), confirm=1, retries=1, run_dir=tmp_path / "run", **HERE
    )
    assert found.verdict.winner.parameters == {"a": 2}
    failed = found.instances[found.instances["p.a"] == 1]
    assert set(failed.status) == {"FAILED"}
    assert set(failed.attempt) == {2}
    assert all("out of luck" in error and "in fit" in error for error in failed.error)
    assert sum(event["event"] == "failure" for event in read(tmp_path / "run" / "journal.jsonl")) == 4


def test_a_function_that_never_works_ends_the_search_with_its_traceback(tmp_path):
    def fit(config, seed):
        return "no number"

    with pytest.raises(
        WorkloadError, match=r"all of the first 5 instances failed.*nothing is lost.*(?s:.*)it gave 'no number'"
    ):
        raysearch.search(fit, space={"a": list(range(9))}, rule=Halving(2), retries=0, run_dir=tmp_path / "run", **HERE)
    assert len(raysearch.load(tmp_path / "run")) == 5


def test_on_failure_raise_ends_the_search_at_once_and_resume_goes_on(tmp_path):
    works = []

    def fit(config, seed):
        if not works:
            raise RuntimeError("the disk is away")
        return float(config["a"])

    space, asked = {"a": [1, 2]}, {"rule": Halving(2), "confirm": 1, "retries": 0, "on_failure": "raise", **HERE}
    with pytest.raises(WorkloadError, match=r"failed 1 times \(on_failure: raise\)(?s:.*)the disk is away"):
        raysearch.search(fit, space=space, run_dir=tmp_path / "run", **asked)
    works.append(True)
    found = resume(tmp_path / "run", workload=fit, retry_failed=True)
    assert found.verdict.n_instances == 5


def test_more_random_configurations_after_the_end(tmp_path):
    space = {"shift": {"low": 0.0, "high": 1.0}, "width": [0.01]}
    sampler = {"name": "random", "n_configurations": 4}
    first = raysearch.search(
        noisy, space=space, sampler=sampler, rule=Halving(2), confirm=3, run_dir=tmp_path / "run", **HERE
    )
    more = resume(tmp_path / "run", {"sampler.n_configurations": 12}, workload=noisy)
    assert more.verdict.n_configurations == 12
    assert more.verdict.winner.parameters["shift"] <= first.verdict.winner.parameters["shift"]
    assert more.verdict.confirmation.n_instances == 3
    again = resume(tmp_path / "run", workload=noisy)
    assert again.verdict == more.verdict


def test_another_rule_after_the_end_uses_what_is_there(tmp_path):
    first = raysearch.search(noisy, space=SPACE, rule=Halving(3), confirm=2, run_dir=tmp_path / "run", **HERE)
    more = resume(tmp_path / "run", {"rule": {"name": "exhaustive", "n_instances": 4}}, workload=noisy)
    table = more.instances
    assert len(table[table.phase == "race"]) == 24
    assert not table.duplicated(["configuration_id", "seed"]).any()
    assert set(map(tuple, first.instances[["configuration_id", "seed"]].to_numpy())) <= set(
        map(tuple, table[["configuration_id", "seed"]].to_numpy())
    )


def test_a_rule_changed_before_anything_began_is_the_one_that_decides(tmp_path):
    def never(config, seed):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        raysearch.search(never, space={"a": [1, 2]}, rule=Halving(3), confirm=0, run_dir=tmp_path / "run", **HERE)
    journal = tmp_path / "run" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])  # nothing but the start
    found = resume(tmp_path / "run", {"rule.warmup": 2}, workload=lambda config, seed: float(config["a"]))
    assert found.verdict.n_instances == 4


def test_what_cannot_change_is_named(found):
    with pytest.raises(ExperimentError, match=r"'space' cannot change when a search goes on"):
        resume(found.run_dir, {"space.shift": [1]}, workload=noisy)
    with pytest.raises(ExperimentError, match=r"trains the Python function 'noisy', which no file can name"):
        resume(found.run_dir)
    with pytest.raises(RunDirectoryError, match=r"holds a search already"):
        raysearch.search(noisy, space=SPACE, run_dir=found.run_dir, **HERE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"criterion": "q33"}, "Did you mean 'q3'"),
        ({"confirm": -1}, "race.confirm must be at least 0, got -1"),
        ({"retrys": 3}, "unknown key 'race.retrys'. Did you mean 'race.retries'"),
        ({"space": {"seed": [1]}}, "the names seed and raysearch_block are raysearch's own"),
        ({"space": {"a": np.logspace(-3, -1, 3)}}, r"parameter 'a': .*\(ndarray\) is no finite.*`.tolist\(\)`"),
        ({"space": {"a": [{3: 1}]}}, r"space, parameter 'a': the key 3 \(int\) is no text"),
        ({"space": {"a": [object]}}, r"space, parameter 'a': <class 'object'> \(type\) is no finite number"),
        ({"space": [1, 2]}, r"space must map names to values, or be a function of a trial, got \[1, 2\]"),
        ({"criterion": {"name": "q3", "of": {1}}}, r"criterion: \{1\} \(set\) is no finite number"),
        ({"train": 5}, "train must be a function"),
        ({"rule": {"warmup": 3}}, "needs a 'name', since halving, significance and top_two take warmup: write `rule: "),
    ],
)  # fmt: skip
def test_wrong_arguments_are_refused_before_anything_is_made(tmp_path, arguments, message):
    with pytest.raises(ExperimentError, match=message):
        raysearch.search(**{"train": noisy, "space": SPACE, "run_dir": tmp_path / "run", **HERE, **arguments})
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["_private", "<lambda>", "\u00fcber", "__call__", "a b"])
def test_any_function_name_makes_a_name_of_a_search(tmp_path, name):
    def fit(config, seed):
        return 0.5

    fit.__name__ = name
    raysearch.search(fit, space={"a": [1]}, rule=Halving(1), confirm=0, run_dir=tmp_path / "run", **HERE)


@pytest.mark.process
def test_a_script_needs_nothing_but_a_function(tmp_path):
    script = """
import raysearch

def train(config, seed):
    for epoch in range(3):
        yield config["x"] ** 2 + (seed % 7) / 100 + 1 / (epoch + 1)

result = raysearch.search(train, space={"x": {"low": -2, "high": 2}}, rule={"name": "halving", "warmup": 2}, confirm=5,
                          execution="local", tracking=None)
print(result.verdict.winner.parameters, len(result.instances))
"""
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "-W", "error", "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{{'x': 0}} {5 * 2 + 2 + 5}" in done.stdout
    assert len(list((tmp_path / "runs").iterdir())) == 1
    assert not (tmp_path / "mlflow.db").exists()


def test_the_default_rule_certifies_or_ends_at_the_cost_of_algorithm_1(tmp_path):
    def train(config, seed):
        return config["x"] + np.random.default_rng(seed).normal() / 100

    common = {"confirm": 0, "execution": "local", "tracking": None, "progress": False}
    clear = raysearch.search(train, space={"x": [1, 2, 3, 4]}, run_dir=tmp_path / "clear", **common).verdict
    assert (clear.winner.parameters, clear.certified) == ({"x": 1}, True)
    close = {"x": [1.0, 1.0001, 1.0002, 1.0003]}

    def noisy(config, seed):
        return config["x"] + np.random.default_rng(seed).normal()

    open_ = raysearch.search(noisy, space=close, run_dir=tmp_path / "open", **common).verdict
    assert (open_.certified, open_.n_instances) == (False, 6 * 4 + 20)


def test_the_default_rule_in_waves_gives_nobody_more_than_twenty(tmp_path):
    def noisy(config, seed):
        return config["x"] + np.random.default_rng([seed, round(1e6 * config["x"])]).normal()

    sampler = {"name": "tpe", "n_configurations": 12, "wave": 4}
    common = {"confirm": 0, "execution": "local", "tracking": None, "progress": False}
    result = raysearch.search(
        noisy, space={"x": {"low": 1, "high": 1.1}}, sampler=sampler, run_dir=tmp_path / "run", **common
    )
    sizes = result.instances.groupby("configuration_id").size()
    assert sizes.max() <= 20
    assert result.verdict.race.n_instances > 1


TYPES = {"k": [(3, 3), (5, (7,))], "n": (np.int64(2), np.float64(0.5)), "on": np.bool_(True), "low": {"choice": (1, 2)}}
TYPES |= {"hidden": {"choice": (4, 5), "when": {"low": (1, 2)}}}


@pytest.mark.parametrize("rule", [None, {"name": "halving", "warmup": np.int64(3)}], ids=["default", "halving"])
def test_parameters_have_the_same_types_first_and_last_and_after_a_resume(tmp_path, rule):
    seen, n_calls = set(), []

    def train(config, seed):
        seen.add(repr({name: value for name, value in config.items() if name != "hidden"}))
        n_calls.append(config["hidden"])  # there at both values of `low`
        if len(n_calls) == 9:
            raise KeyboardInterrupt
        return config["n"] + config["k"][0] + seed % 7 / 100

    asked = {"space": TYPES, "confirm": 2, "rule": rule, "sampler": {"name": "grid"}}
    with pytest.raises(KeyboardInterrupt):
        raysearch.search(train, run_dir=tmp_path / "run", **asked, **HERE)
    resume(tmp_path / "run", workload=train)
    expected = [
        {"k": k, "n": n, "on": True, "low": low} for k in ([3, 3], [5, [7]]) for n in (2, 0.5) for low in (1, 2)
    ]
    assert seen == {repr(one) for one in expected}


def test_a_function_space_may_offer_tuples_in_every_wave(tmp_path):
    def space(trial):
        assert trial.suggest_categorical("k", [(3, 3), (5, 5), None]) in [(3, 3), (5, 5), None]
        trial.suggest_float("x", 0, 1)

    def train(config, seed):
        assert config["k"] in ([3, 3], [5, 5], None)
        return config["x"]

    sampler = {"name": "tpe", "n_configurations": 9, "wave": 3}
    asked = {"space": space, "sampler": sampler, "rule": Halving(2), "confirm": 1, "run_dir": tmp_path / "run"}
    found = raysearch.search(train, **asked, **HERE)
    assert set(found.instances.status) == {"COMPLETE"}
    assert resume(tmp_path / "run", {"sampler.n_configurations": 12}, workload=train, space=space)


def plain(losses):
    return float(np.median(losses))


@dataclass(frozen=True)
class MyRule:
    n: int = 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"criterion": plain},
            r"criterion: expected a name, .*or a plug-in object, got <function plain.*Known in criter",
        ),
        ({"criterion": np.median}, r"criterion: expected a name.*`raysearch.criteria`.*see CONTRIBUTING.md"),
        ({"criterion": Quantile}, r"criterion: Quantile is a class: make an object of it, Quantile\(...\)"),
        (
            {"criterion": Halving(2)},
            r"criterion: Halving\(warmup=2\) \(Halving\) is a plug-in of rules, not of criteria",
        ),
        ({"criterion": 3}, r"criterion: expected a name.*got 3 \(int\)"),
        ({"criterion": None}, r"criterion: expected a name or \{name: .*got None"),
        ({"rule": Quantile(0.5)}, r"rule: Quantile\(q=0.5\) \(Quantile\) is a plug-in of criteria, not of rules"),
        ({"rule": MyRule()}, r"rule: expected a name.*got MyRule\(n=3\) \(MyRule\).*`raysearch.rules`"),
        ({"sampler": ["grid"]}, r"sampler: expected a name.*got \['grid'\] \(list\)"),
        ({"measures": "curvature"}, r"measures must be a list of names.*got 'curvature'"),
        ({"measures": [Quantile(0.5)]}, r"measures: Quantile\(q=0.5\) \(Quantile\) is a plug-in of criteria"),
        ({"measures": 3}, r"measures must be a list of names.*got 3"),
        ({"execution": print}, r"execution: expected a name.*got <built-in function print>.*Known in execution: local"),
        ({"tracking": object()}, r"tracking: expected a name.*got <object object at .*Known in tracking: "),
        ({"train": Synthetic}, r"train: Synthetic is the class of a workload: make an object, Synthetic\(\)"),
        ({"sampler": {"name": "tpe", "objectives": [Quantile(0.5)]}}, r"sampler: Quantile\(q=0.5\) \(Quantile\) is no"),
        ({"warmup": 3}, r"unknown key 'race.warmup'. It belongs to `rule: \{name: halving, warmup: ...\}`"),
        (
            {"objectives": ["q3"]},
            r"unknown key 'race.objectives'. It belongs to `sampler: \{name: tpe, objectives: ...\}`",
        ),
    ],
    # processes that share the tests out must call them by the same names
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_an_object_of_the_wrong_kind_is_refused_with_what_is_expected(tmp_path, arguments, message):
    with pytest.raises(ExperimentError, match=message):
        raysearch.search(**{"train": noisy, "space": SPACE, "run_dir": tmp_path / "run", **HERE, **arguments})
    assert not (tmp_path / "run").exists()


def test_numbers_of_numpy_are_settings_like_others(tmp_path):
    asked = {"rule": Halving(np.int64(2)), "criterion": {"name": "quantile", "q": np.float64(0.5)}}
    found = raysearch.search(
        noisy, space=SPACE, confirm=np.int64(1), seed=np.int64(3), run_dir=tmp_path / "run", **asked, **HERE
    )
    assert resume(tmp_path / "run", workload=noisy).verdict == found.verdict
