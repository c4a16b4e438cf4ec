"""Every kind of bad input has its own clear message, before anything trains."""

import datetime
import math

import pytest
import yaml

from raysearch.driver.run import build, plan
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.experiment.experiment import from_data, from_file, parse_settings, section_of

GOOD = {
    "name": "good",
    "seed": 1,
    "workload": {"name": "synthetic", "epochs": 2},
    "space": {"level": [0.1, 0.2, 0.3], "spread": [0.1, 0.2]},
    "sampler": "grid",
    "criterion": {"name": "quantile", "q": 0.9},
    "rule": {"name": "halving", "warmup": 3},
    "race": {"confirm": 4},
    "execution": "local",
    "tracking": None,
}


def written(path, text):
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text), encoding="utf-8")
    return path


def changed(**sections):
    return {key: value for key, value in {**GOOD, **sections}.items() if value is not ...}


def test_a_file_gives_its_experiment(tmp_path):
    experiment = from_file(written(tmp_path / "e.yaml", GOOD))
    assert experiment.model_dump(exclude_unset=True) == GOOD
    assert experiment.race.retries == 2
    assert plan(experiment).n_instances == (6 * 3 + 3 + 4,) * 2
    assert plan(experiment).n_exhaustive == 300
    assert plan(experiment).n_epochs == 2


def test_only_workload_and_space_are_needed():
    assert from_data({"workload": "synthetic", "space": {"level": [0.1]}}).rule == "halving"
    for section in ("workload", "space"):
        with pytest.raises(ExperimentError, match=f"the section '{section}' is missing"):
            from_data(changed(**{section: ...}))


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("rac", {}, "unknown key 'rac'. Did you mean 'race'"),
        ("race", {"confrim": 1}, "unknown key 'race.confrim'. Did you mean 'race.confirm'"),
        ("criterion", "q33", "criterion: unknown name in criteria 'q33'. Did you mean 'q3'"),
        ("criterion", {"name": "quantile", "p": 0.5}, r"unknown parameter of quantile \(in criteria\) 'p'.*Known: q"),
        ("rule", "halfing", "rule: unknown name in rules 'halfing'. Did you mean 'halving'"),
        ("rule", {"name": "halving", "warmpu": 3}, "Did you mean 'warmup'"),
        ("sampler", "gird", "sampler: unknown name in samplers 'gird'. Did you mean 'grid'"),
        ("workload", "sinthetic", "workload: unknown name in workloads 'sinthetic'. Did you mean 'synthetic'"),
        ("workload", {"name": "synthetic", "epoch": 2}, "Did you mean 'epochs'"),
        ("execution", "locl", "execution: unknown name in execution 'locl'. Did you mean 'local'"),
        ("tracking", "mlfow", "tracking: unknown name in tracking 'mlfow'. Did you mean 'mlflow'"),
        ("criterion", {"p": 0.5}, "criterion: a section of criteria needs a 'name'"),
        ("criterion", {"of": "noise_resilience"}, "criterion: a section of criteria needs a 'name'"),
        ("workload", {}, "workload: a section of workloads needs a 'name'"),
        ("constraints", {"n_parameters": 5}, "unknown constraint 'n_parameters'. Known: none"),
        ("space", {"levl": [0.1]}, "unknown parameter of synthetic 'levl'. Did you mean 'level'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_known_ones_and_the_closest(section, value, message):
    with pytest.raises((UnknownNameError, ExperimentError), match=message):
        build(from_data(changed(**{section: value})))


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        ("criterion", {"name": "quantile", "q": 1.5}, "q must be at most 1, got 1.5"),
        ("criterion", {"name": "quantile", "q": "0.9"}, "q must be a number, got '0.9'"),
        ("rule", {"name": "halving", "warmup": 0}, "warmup must be at least 1, got 0"),
        ("rule", {"name": "halving", "warmup": 2.5}, "warmup must be a whole number, got 2.5"),
        ("sampler", {"name": "random", "n_configurations": 0}, "n_configurations must be at least 1, got 0"),
        ("workload", {"name": "synthetic", "tail": 2.0}, "tail must be at most 1, got 2.0"),
        ("race", {"confirm": -1}, "race.confirm must be at least 0, got -1"),
        ("race", {"confirm": True}, "race.confirm must be a whole number, got True"),
        ("race", {"block": 0}, "race.block must be at least 1, got 0"),
        ("race", {"on_failure": "rise"}, "race.on_failure must be 'count' or 'raise', got 'rise'"),
        ("race", None, "race must be a mapping, got None"),
        ("seed", -1, "seed must be at least 0, got -1"),
        ("seed", 1.5, "seed must be a whole number, got 1.5"),
        ("seed", 10**400, "seed must be below 9223372036854775808, got 1000"),
        ("name", "a b/../c", "name: use letters, digits"),
        ("name", "..", "name: use letters, digits"),
        ("workload", 5, r"workload: expected a name or \{name: .*got 5"),
        ("criterion", {"name": "q3", 1: 2}, "criterion.1: a key must be text, got 1: quote it"),
        ("space", {1: [2]}, "space.1: a key must be text"),
        ("space", [1], r"space must be a mapping, got \[1\]"),
        ("space", {}, "the space has no parameters"),
        ("space", {"level": [0.1], "spread": [-1]}, "spread = -1 is out of range"),
        ("space", {"level": ["high"]}, "level = 'high' is no number"),
        ("constraints", {"n": math.inf}, "constraints.n must be a finite number, got inf"),
    ],
)
def test_a_value_out_of_range_is_refused_with_the_value(section, value, message):
    with pytest.raises(ExperimentError, match=message):
        build(from_data(changed(**{section: value})))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"objectives": []},
            r"unknown key 'objectives'. It belongs to `sampler: \{name: tpe, objectives: ...\}`. Known: ",
        ),
        ({"warmup": 3}, r"unknown key 'warmup'. It belongs to `rule: \{name: halving, warmup: ...\}`"),
        ({"confirm": 3}, r"unknown key 'confirm'. It belongs to `race: \{confirm: ...\}`"),
        ({"gpus": 0.5}, r"unknown key 'gpus'. It belongs to `execution: \{name: ray_tune, gpus: ...\}`"),
        ({"timeout_s": 9}, r"`execution: \{name: ray_tune, .*` or `tracking: \{name: mlflow, timeout_s: ...\}`"),
        (
            {"race": {"rule": "halving"}},
            r"unknown key 'race.rule'. It belongs to `rule: ...` itself, beside the sections",
        ),
        ({"race": {"first_epoch": 3}}, r"'race.first_epoch'. It belongs to `race: \{screen: \{first_epoch: ...\}\}`"),
        ({"rule": {"name": "halving", "confirm": 3}}, r"rule: unknown parameter of halving .*`race: \{confirm: ...\}`"),
        (
            {"sampler": {"n_configurations": 3}},
            r"sampler: the section needs a 'name', since random and tpe take n_configurations: write `samp",
        ),
        ({"n_train": 3}, r"`workload: \{name: \w+, n_train: ...\}` \(or .*digits"),
    ],
    ids=str,
)
def test_a_key_that_is_known_elsewhere_is_told_where(change, message):
    with pytest.raises(ExperimentError, match=message):
        build(from_data(changed(**change)))


def test_every_mistake_is_told_at_once():
    with pytest.raises(ExperimentError, match=r"seed must be .*; unknown key 'rac'"):
        from_data(changed(seed=-1, rac={}))


def test_a_space_without_a_valid_configuration_is_refused_with_its_bounds():
    space = {
        "conv": [[8]],
        "hidden": [[32]],
        "activation": ["ReLU"],
        "optimizer": ["SGD"],
        "lr": [0.1],
        "batch_size": [8],
    }
    digits = {"workload": "digits", "space": space, "constraints": {"n_parameters": 10}}
    with pytest.raises(ExperimentError, match=r"no valid configuration with n_parameters <= 10: widen it or relax"):
        build(from_data(changed(**digits)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nspace: [1, 2\nrule: x\n", r"e.yaml, line 3, column 5: no valid YAML"),
        ("name: a\n\tseed: 1\n", r"line 2, column 1: .*cannot start any token"),
        ("seed: 1\nname: a\nseed: 2\n", r"line 3, column 1: .*the key 'seed' appears twice"),
        ("space: {lr: [1], lr: [2]}", r"line 1, column 18: .*the key 'lr' appears twice"),
        ("a: !!python/object/apply:os.system [echo]", r"line 1, column 4: .*could not determine a constructor"),
        ("a: &a [*a]", r"its aliases expand to more than"),
        ("a: !!int x", r"no valid YAML: invalid literal"),
        ("[" * 5000, r"nested too deeply"),
        ("\x00", r"no valid YAML: unacceptable character"),
        ("- a\n- b\n", r"must hold a mapping of sections .*got \['a', 'b'\]"),
        ("", r"must hold a mapping of sections .*got None"),
        ("just text", r"must hold a mapping of sections .*got 'just text'"),
    ],
)
def test_a_file_that_is_no_experiment_is_refused_with_file_and_line(tmp_path, text, message):
    with pytest.raises(ExperimentError, match=message) as caught:
        from_file(written(tmp_path / "e.yaml", text))
    assert str(tmp_path / "e.yaml") in str(caught.value)


def test_a_laughing_billion_is_refused_at_once(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(ExperimentError, match=r"its aliases expand to more than 100000 values"):
        from_file(written(tmp_path / "e.yaml", "\n".join(lines)))


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    with pytest.raises(ExperimentError, match=r"cannot read the experiment file .*none.yaml: No such file"):
        from_file(tmp_path / "none.yaml")
    with pytest.raises(ExperimentError, match=r"Is a directory"):
        from_file(tmp_path)
    (tmp_path / "latin.yaml").write_bytes("name: \xe9".encode("latin-1"))
    with pytest.raises(ExperimentError, match=r"it is no UTF-8 text"):
        from_file(tmp_path / "latin.yaml")


def test_numbers_may_be_written_as_people_write_them(tmp_path):
    text = "workload: synthetic\nspace: {level: [1e-4, 1E3, .5e1, 2e+2, 0x10, '1e5', 1.5]}\n"
    assert from_file(written(tmp_path / "e.yaml", text)).space["level"] == [1e-4, 1e3, 5.0, 200.0, 16, "1e5", 1.5]


def test_aliases_and_merges_are_fine(tmp_path):
    text = "workload: synthetic\nspace: {level: &l [1, 2], spread: *l}\nrule: {<<: {warmup: 2}, name: halving}\n"
    experiment = from_file(written(tmp_path / "e.yaml", text))
    assert experiment.space["spread"] == [1, 2]
    assert experiment.rule == {"name": "halving", "warmup": 2}


@pytest.mark.parametrize(
    ("section", "value", "whole"),
    [
        ("execution", {"gpus": 0.25}, {"name": "ray_tune", "gpus": 0.25}),
        ("execution", {"timeout_s": 600}, {"name": "ray_tune", "timeout_s": 600}),
        ("execution", {"checkpoints": "/shared/folder"}, {"name": "ray_tune", "checkpoints": "/shared/folder"}),
        ("execution", {}, {"name": "ray_tune"}),
        ("tracking", {"weights": "all"}, {"name": "mlflow", "weights": "all"}),
        ("tracking", {"uri": "sqlite:///x.db"}, {"name": "mlflow", "uri": "sqlite:///x.db"}),
        ("rule", {"warmup": 7}, {"name": "halving", "warmup": 7}),
        ("sampler", {}, {"name": "grid"}),
    ],
)
def test_a_section_without_a_name_is_that_of_the_default(section, value, whole):
    agrees(section, value, whole)


@pytest.mark.parametrize(
    ("section", "value", "whole"),
    [
        ("execution", {"debug": True}, {"name": "local", "debug": True}),
        ("tracking", {"every_s": 2}, {"name": "terminal", "every_s": 2}),
        ("rule", {"test": "levene"}, {"name": "significance", "test": "levene"}),
        ("rule", {"warmup": 2, "batch": 4}, {"name": "top_two", "warmup": 2, "batch": 4}),
        ("sampler", {"wave": 8}, {"name": "tpe", "wave": 8}),
        ("criterion", {"q": 0.5}, {"name": "quantile", "q": 0.5}),
        ("workload", {"tail": 0.3}, {"name": "synthetic", "tail": 0.3}),
    ],
)
def test_a_section_without_a_name_is_that_of_the_only_plugin_that_takes_its_keys(section, value, whole):
    agrees(section, value, whole)


def agrees(section, value, whole):
    experiment = from_data(changed(**{section: value}))
    assert getattr(experiment, section) == whole
    assert type(experiment.load(section)).__name__.lower() == whole["name"].replace("_", "")
    assert from_data(experiment.model_dump(mode="json")) == experiment


def test_measures_may_do_without_a_name_too():
    told = [{"n_bins": 5, "of": "survivors"}, "curvature"]
    assert from_data(changed(measures=told)).measures == [{"name": "calibration", **told[0]}, "curvature"]
    with pytest.raises(ExperimentError, match=r"measures: the section needs a 'name', since .* take n_examples: write"):
        from_data(changed(measures=[{"n_examples": 5}]))


@pytest.mark.parametrize(
    ("section", "value", "message"),
    [
        (
            "rule",
            {"budget": 5},
            "rule: the section needs a 'name', since sequential_halving, surrogate and top_two take budget: ",
        ),
        (
            "workload",
            {"epochs": 3},
            "workload: .* since calorimeter, cifar10, digits, images, module and synthetic take epochs: write ",
        ),
        ("execution", {"gpuz": 1}, r"execution: unknown parameter of ray_tune .* 'gpuz'. Did you mean 'gpus'\?"),
    ],
)
def test_a_section_whose_keys_do_not_tell_the_plugin_is_told_which_names_there_are(section, value, message):
    with pytest.raises(ExperimentError, match=message):
        build(from_data(changed(**{section: value})))


def test_a_misspelt_name_is_not_taken_for_a_parameter_of_the_default():
    with pytest.raises(ExperimentError, match=r"execution: .*needs a 'name'.*Did you mean 'name' by 'nmae'"):
        build(from_data(changed(execution={"nmae": "local"})))


def test_what_a_caller_changes_later_changes_no_experiment():
    space = {"level": [[0.1, 0.2], 0.3]}
    experiment = from_data(changed(space=space))
    space["level"][0].append(0.9)
    assert experiment.space == {"level": [[0.1, 0.2], 0.3]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"criterion": {"name": "q3", "of": datetime.date(2020, 1, 1)}}, r"criterion: .*\(date\) is no finite number"),
        ({"workload": {"name": "synthetic", "seconds": math.inf}}, r"workload: inf \(float\) is no finite number"),
        ({"space": {"level": [{1, 2}]}}, r"space, parameter 'level': \{1, 2\} \(set\) is no finite number"),
        ({"measures": [{"name": "curvature", "n": b"x"}]}, r"measures: b'x' \(bytes\) is no finite number"),
    ],
)
def test_what_no_journal_could_keep_is_refused(change, message):
    with pytest.raises(ExperimentError, match=message):
        from_data(changed(**change))


# ---- --set


@pytest.mark.parametrize(
    ("start", "settings", "section", "value"),
    [
        ({"execution": ...}, ["execution.gpus=0.5"], "execution", {"name": "ray_tune", "gpus": 0.5}),
        ({"execution": ...}, ["execution.gpus=0.5", "execution.name=local"], "execution", {"name": "local"}),
        ({"execution": {"gpus": 1}}, ["execution.name=ray_tune"], "execution", {"name": "ray_tune", "gpus": 1}),
        ({"execution": {"gpus": 1}}, ["execution.name=local"], "execution", {"name": "local"}),
        ({"rule": ...}, ["rule.warmup=2"], "rule", {"name": "halving", "warmup": 2}),
        ({"tracking": ...}, ["tracking.weights=all"], "tracking", {"name": "mlflow", "weights": "all"}),
        ({"criterion": ...}, ["criterion.q=0.5"], "criterion", {"name": "quantile", "q": 0.5}),
        (
            {"criterion": ...},
            ["criterion.q=0.5", "criterion.name=quantile"],
            "criterion",
            {"name": "quantile", "q": 0.5},
        ),
        ({"rule": ...}, ["rule.budget=9", "rule.name=top_two"], "rule", {"name": "top_two", "budget": 9}),
        ({"rule": ...}, ["rule.keep=9", "rule.name=halving"], "rule", {"name": "halving"}),
    ],
)
def test_settings_of_a_section_that_names_no_plugin(start, settings, section, value, tmp_path):
    assert getattr(from_file(written(tmp_path / "e.yaml", changed(**start)), settings), section) == value


def test_a_parameter_of_the_space_may_be_called_name(tmp_path):
    assert from_file(written(tmp_path / "e.yaml", GOOD), ["space.name=[1, 2]"]).space == {
        **GOOD["space"],
        "name": [1, 2],
    }


def test_a_setting_may_begin_what_a_dump_holds_as_null():
    experiment = from_data(GOOD)
    assert experiment.model_dump(mode="json")["race"]["screen"] is None
    screened = experiment.with_values({"race.screen.rule": "halving", "race.screen.factor": 2})
    assert (screened.race.screen.rule, screened.race.screen.factor) == ("halving", 2)
    assert screened.with_values({"race.screen": None}) == experiment


def test_settings_change_values_by_dotted_keys(tmp_path):
    path = written(tmp_path / "e.yaml", GOOD)
    settings = ["race.confirm=200", "criterion=mean", "rule.warmup=7", "space.level=[0.5]", "execution.debug=true"]
    settings += ["tracking=null", "race.block=2"]
    experiment = from_file(path, settings)
    assert (experiment.race.confirm, experiment.race.block, experiment.criterion) == (200, 2, "mean")
    assert experiment.rule == {"name": "halving", "warmup": 7}
    assert experiment.space == {"level": [0.5], "spread": [0.1, 0.2]}
    assert experiment.execution == {"name": "local", "debug": True}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("race.confirm", "has not the form key=value"),
        ("=5", "has not the form key=value"),
        ("race.confrim=5", "unknown key 'race.confrim'. Did you mean 'race.confirm'"),
        ("race.confirm=five", "race.confirm must be a whole number, got 'five'"),
        ("race.confirm=[1", "--set race.confirm=.*no valid YAML"),
        ("name.x.y=1", "name must be text, got {'name': 'good', 'x': "),
        ("tracking.uri=x", "cannot set 'tracking.uri': tracking is no section but None: set 'tracking' itself first"),
        ("space.level.low=1", "cannot set 'space.level.low': space.level is no section"),
    ],
)
def test_a_wrong_setting_is_refused(tmp_path, setting, message):
    with pytest.raises(ExperimentError, match=message):
        from_file(written(tmp_path / "e.yaml", GOOD), [setting])


def test_parsed_settings_are_yaml():
    assert parse_settings(["a=1e-3", "b=[x, 2]", "c=", "d=a=b"]) == {"a": 1e-3, "b": ["x", 2], "c": None, "d": "a=b"}


def test_an_experiment_makes_another_one_and_stays_as_it_was():
    experiment = from_data(GOOD)
    other = experiment.with_values({"race.confirm": 9, "rule": "exhaustive"})
    assert (other.race.confirm, other.rule, experiment.race.confirm) == (9, "exhaustive", 4)
    assert experiment.with_values({}) == experiment


def test_a_plugin_becomes_a_section_and_back():
    made = from_data(GOOD).load("criterion")
    assert section_of(made) == {"name": "quantile", "q": 0.9}
