"""What a search minimises: sections, their labels, and values over what instances told."""

import json
import math

import pytest

from raysearch.criteria.objectives import RACED, Objective, label, parse, parse_all
from raysearch.driver.run import load
from raysearch.driver.search import search
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.records import Configuration, Outcome

CONFIGURATION = Configuration.of({"x": 1})


@pytest.mark.parametrize(
    ("section", "called", "metric"),
    [
        ("q3", "q3", None),
        ({"name": "quantile", "q": 0.9}, "quantile(q=0.9)", None),
        ({"name": "q3", "of": "curvature"}, "q3 of curvature", "curvature.top_eigenvalue"),
        (
            {"name": "max", "of": {"name": "noise_resilience", "sigma": 0.2}},
            "max of noise_resilience(sigma=0.2)",
            "noise_resilience.rise",
        ),
        ({"name": "median", "of": "local_instability"}, "median of local_instability", "epoch_instability"),
        ({"name": "median", "of": {"metric": "latency_s"}}, "median of latency_s", "latency_s"),
    ],
)
def test_a_section_says_what_is_judged_and_how_it_is_called(section, called, metric):
    assert (parse(section).label, parse(section).metric, label(section)) == (called, metric, called)


@pytest.mark.parametrize(
    ("section", "error", "text"),
    [
        ({"name": "q3", "of": "curvatur"}, UnknownNameError, "Did you mean 'curvature'"),
        ({"name": "q3", "of": {"metric": "a", "name": "b"}}, ExperimentError, "one name and nothing else"),
        ("q4", UnknownNameError, "q3"),
    ],
)
def test_what_nobody_can_judge_is_refused(section, error, text):
    with pytest.raises(error, match=text):
        parse(section)


def test_the_same_objective_twice_is_refused():
    with pytest.raises(ExperimentError, match="'q3' is named twice"):
        parse_all(["q3", "median", "q3"])


def test_values_are_of_losses_or_of_a_metric_and_what_is_missing_is_bad():
    outcome = Outcome(CONFIGURATION, (1.0, 2.0, 6.0), False, {"size": (5.0, math.inf, 3.0)})
    assert parse("median").value(outcome) == 2.0
    assert parse({"name": "median", "of": {"metric": "size"}}).value(outcome) == 5.0
    assert parse({"name": "max", "of": {"metric": "size"}}).value(outcome) == math.inf
    beside = Outcome(CONFIGURATION, (0.1, 0.2), False, {"task_loss": (7.0, 9.0)})  # a measure steers
    assert (parse("median").value(beside), Objective("", parse("median").criterion, RACED).value(beside)) == (
        8.0,
        pytest.approx(0.15),
    )
    assert parse({"name": "min", "of": {"metric": "other"}}).value(outcome) == math.inf
    with pytest.raises(ValueError, match="no finished instance"):
        parse("median").value(Outcome(CONFIGURATION, (), False))


def test_a_metric_of_the_users_own_function_is_an_objective(tmp_path):
    def train(config, seed):
        return {"loss": config["width"] ** -1.0 + seed % 10 / 1e4, "bytes": 8.0 * config["width"]}

    common = {"rule": {"name": "exhaustive", "n_instances": 2}, "confirm": 0, "execution": "local", "tracking": None}
    sampler = {
        "name": "tpe",
        "n_configurations": 8,
        "wave": 4,
        "objectives": ["median", {"name": "max", "of": {"metric": "bytes"}}],
    }
    space = {"width": {"low": 1, "high": 64, "type": "int"}}
    result = search(train, space=space, sampler=sampler, run_dir=tmp_path / "run", progress=False, **common)
    assert result.verdict.objectives == ("median", "max of bytes")
    assert len(result.verdict.pareto) == 8  # whatever is wider is better, and larger
    for point in result.verdict.pareto:
        row = result.instances[result.instances.configuration_id == point.configuration_id].iloc[0]
        assert point.values[1] == 8 * row["p.width"]


def test_a_measure_is_one_of_several_objectives(tmp_path):
    section = {"name": "digits", "n_train": 80, "n_validation": 40, "n_test": 40, "epochs": 1}
    space = {"hidden": [[4], [8]], "optimizer": ["AdamW"], "lr": {"low": 0.001, "high": 0.1, "log": True}}
    space |= {"batch_size": [32]}
    noise = {"name": "noise_resilience", "n_draws": 2}
    sampler = {"name": "tpe", "n_configurations": 6, "wave": 3, "objectives": ["median", {"name": "q3", "of": noise}]}
    common = {"rule": {"name": "halving", "warmup": 2}, "confirm": 2, "execution": "local", "tracking": None}
    result = search(section, space=space, sampler=sampler, run_dir=tmp_path / "run", progress=False, **common)
    assert result.verdict.objectives == ("median", "q3 of noise_resilience(n_draws=2)")
    frame = load(tmp_path / "run")
    frame["rise"] = frame["metrics"].map(lambda text: json.loads(text)["noise_resilience.rise"])
    raced = (
        frame[frame.phase == "race"]
        .groupby("configuration_id")
        .agg({"loss": "median", "rise": lambda r: r.quantile(0.75)})
    )
    known = frame[frame.phase == "race"].groupby("configuration_id").size()
    known = known[known >= min(5, known.nlargest(2).iloc[-1])].index
    for point in result.verdict.pareto:
        assert list(point.values) == pytest.approx(raced.loc[point.configuration_id].tolist())
        assert not ((raced.loss < point.values[0]) & (raced.rise < point.values[1])).loc[known].any()
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "q3 of noise_resilience(n_draws=2)" in report
