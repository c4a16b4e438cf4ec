"""Measures of a whole search: who is measured, where the numbers go, and a measure as the criterion."""

import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from raysearch.criteria import objectives
from raysearch.driver import measure as measuring
from raysearch.driver.run import build, load, run
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.experiment.experiment import from_data
from raysearch.storage.decoding import entries
from raysearch.storage.events import Measured
from raysearch.storage.journal import read
from raysearch.storage.measurements import array_path, read_measured
from raysearch.tracking.silent import Silent

WORKLOAD = {"name": "digits", "n_train": 100, "n_validation": 60, "n_test": 80, "epochs": 2}
SPACE = {"hidden": [[8], [4]], "optimizer": ["AdamW"], "lr": [0.02], "batch_size": [32]}


def experiment(**sections):
    data = {
        "name": "small",
        "workload": WORKLOAD,
        "space": SPACE,
        "rule": {"name": "halving", "warmup": 2},
        "race": {"confirm": 3},
        "execution": "local",
        "tracking": None,
    }
    return from_data({**data, **sections})


class Listener(Silent):
    def __init__(self):
        self.__dict__.update(heard=[], artifacts={})

    def measured(self, configuration, seed, numbers):
        self.heard.append((configuration.id, seed, numbers))

    def finished(self, verdict, artifacts, model):
        self.artifacts.update(artifacts)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    asked = ["local_instability", {"name": "noise_resilience", "n_draws": 2, "of": "all"}, "generalization_gap"]
    listener = Listener()
    small = {"name": "synaptic_filtering", "n_thresholds": 3, "n_examples": 20}
    result = run(experiment(measures=[*asked, small]), folder, watchers=[listener])
    return result, folder, listener


@pytest.mark.figures
def test_a_measures_figure_is_to_be_had_by_its_name(measured):
    result = measured[0]
    for name in ("local_instability", "generalization_gap", "synaptic_filtering"):
        assert isinstance(result.plot(name), Figure)
    with pytest.raises(UnknownNameError, match=r"unknown figure 'gap'.*Known: .*generalization_gap.*trajectories"):
        result.plot("gap")


def test_the_winners_confirmation_instances_are_measured_at_the_end(measured):
    result, folder, _ = measured
    findings = read_measured(entries(read(folder / "journal.jsonl")))
    assert {finding.configuration_id for finding in findings} == {result.verdict.winner.id}
    gaps = [finding for finding in findings if finding.measure == "generalization_gap"]
    assert len([finding for finding in gaps if finding.seed is not None]) == 3
    (whole,) = [finding for finding in gaps if finding.seed is None]
    assert whole.n_instances == 3
    each = [finding.numbers["gap"] for finding in gaps if finding.seed is not None]
    assert whole.numbers["gap"] == pytest.approx(np.mean(each))
    assert whole.numbers["gap_std"] == pytest.approx(np.std(each, ddof=1))
    (unrest,) = [finding for finding in findings if finding.measure == "local_instability"]
    assert 0.0 <= unrest.numbers["churn"] <= 1.0
    assert len(unrest.tables["worst"]) == 10
    with np.load(array_path(folder, "local_instability", result.verdict.winner.id)) as arrays:
        assert arrays["label_entropy"].shape == (80,)


def test_numbers_of_instances_stand_in_the_table_of_instances(measured):
    _, folder, _ = measured
    frame = load(folder)
    metrics = frame["metrics"].map(json.loads)
    # asked of all: every instance, measured where it was trained
    assert all("noise_resilience.rise" in values for values in metrics)
    confirmed = frame["phase"] == "confirmation"
    assert all("generalization_gap.gap" in values for values in metrics[confirmed])
    assert not any("generalization_gap.gap" in values for values in metrics[~confirmed])


def test_report_figures_and_tracker_have_them(measured):
    _, folder, listener = measured
    page = (folder / "report.html").read_text(encoding="utf-8")
    for title in ("Local instability", "Generalization gap", "Synaptic filtering", "label_entropy", "antifragile"):
        assert title in page
    heard = {name for _, _, numbers in listener.heard for name in numbers}
    assert {"local_instability.churn", "generalization_gap.gap_std", "synaptic_filtering.fragility"} <= heard
    assert {seed is None for _, seed, _ in listener.heard} == {True, False}
    for name in ("measures", "measure_local_instability", "measure_synaptic_filtering", "measure_generalization_gap"):
        assert listener.artifacts[name].stat().st_size > 0


def test_what_workers_measured_is_summed_up_by_configuration_and_shown(measured):
    result, folder, listener = measured
    frame = load(folder)
    frame["rise"] = frame["metrics"].map(lambda text: json.loads(text)["noise_resilience.rise"])
    own = frame[frame["configuration_id"] == result.verdict.winner.id]["rise"]
    heard = {
        id_: numbers for id_, seed, numbers in listener.heard if seed is None and "noise_resilience.rise" in numbers
    }
    assert set(heard) == set(frame["configuration_id"])
    assert heard[result.verdict.winner.id]["noise_resilience.rise"] == pytest.approx(own.mean())
    assert heard[result.verdict.winner.id]["noise_resilience.rise_std"] == pytest.approx(own.std())
    assert "Noise resilience, by instance" in (folder / "report.html").read_text(encoding="utf-8")
    table = pd.read_parquet(folder / "measures.parquet").query("measure == 'noise_resilience' and number == 'rise'")
    assert table["seed"].notna().sum() == len(frame)
    assert listener.artifacts["measure_noise_resilience"].stat().st_size > 0


def test_survivors_of_a_rule_that_drops_nobody_are_those_that_it_cannot_tell_apart(tmp_path):
    rule = {"name": "top_two", "certify": 3, "cap": 3, "delta": 0.5, "batch": 2}
    wide = {**SPACE, "lr": [0.02, 1e-7]}
    section = experiment(rule=rule, space=wide, measures=[{"name": "generalization_gap", "of": "survivors"}])
    verdict = run(section, tmp_path / "run").verdict
    findings = read_measured(entries(read(tmp_path / "run" / "journal.jsonl")))
    assert {f.configuration_id for f in findings} == {verdict.winner.id, *verdict.indistinguishable}
    assert len(verdict.indistinguishable) < verdict.n_configurations


def test_a_number_in_the_way_of_a_spread_is_refused():
    founds = [Measured("made", "0" * 12, seed, {"rise": 1.0, "rise_std": 2.0}) for seed in (1, 2)]
    with pytest.raises(ValueError, match="rise_std is in the way of the spread of rise"):
        measuring._means(founds)


def test_a_measure_can_steer_the_race(tmp_path):
    criterion = {"name": "max", "of": {"name": "noise_resilience", "sigma": 0.3, "n_draws": 2}}
    result = run(experiment(criterion=criterion), tmp_path / "run")
    frame = load(tmp_path / "run")
    metrics = frame["metrics"].map(json.loads)
    assert np.allclose(frame["loss"], [values["noise_resilience.rise"] for values in metrics])
    assert np.allclose([curve[-1] for curve in frame["curve"]], [values["task_loss"] for values in metrics])
    assert frame["test_loss"].notna().all()
    race = frame[frame["phase"] == "race"].groupby("configuration_id")["loss"].max()
    assert race.idxmin() == result.verdict.winner.id
    assert "noise_resilience.rise" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_the_instability_over_epochs_can_steer_without_further_work(tmp_path):
    result = run(experiment(criterion={"name": "median", "of": "local_instability"}), tmp_path / "run")
    assert result.verdict.race.median == pytest.approx(
        load(tmp_path / "run")
        .query("phase == 'race' and configuration_id == @result.verdict.winner.id")["metrics"]
        .map(lambda text: json.loads(text)["epoch_instability"])
        .median()
    )


def test_a_measure_that_fails_loses_nothing(tmp_path, monkeypatch):
    from raysearch.training.measures.curvature import Curvature

    def broken(self, subject):
        raise RuntimeError("no second derivative")

    monkeypatch.setattr(Curvature, "__call__", broken)
    result = run(experiment(measures=["curvature"]), tmp_path / "run")
    assert result.verdict.confirmation is not None
    (finding,) = read_measured(entries(read(tmp_path / "run" / "journal.jsonl")))
    assert "no second derivative" in finding.error
    assert "no second derivative" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_survivors_and_all_have_their_weights_kept(tmp_path):
    both = experiment(measures=[{"name": "local_instability", "of": "all"}])
    run(both, tmp_path / "run")
    findings = read_measured(entries(read(tmp_path / "run" / "journal.jsonl")))
    assert len({finding.configuration_id for finding in findings}) == 2
    assert all(not finding.error for finding in findings)


@pytest.mark.parametrize(
    ("sections", "error", "text"),
    [
        ({"measures": ["curvatur"]}, UnknownNameError, "Did you mean 'curvature'"),
        ({"measures": [{"name": "curvature", "of": "everyone"}]}, UnknownNameError, "survivors"),
        ({"measures": [{"name": "curvature", "examples": 3}]}, UnknownNameError, "n_examples"),
        ({"measures": ["curvature", "curvature"]}, ExperimentError, "named twice"),
        ({"criterion": {"name": "q3", "of": "sharpness"}}, UnknownNameError, "curvature"),
        (
            {"workload": "synthetic", "space": {"x": [1]}, "measures": ["curvature"]},
            ExperimentError,
            "cannot be measured",
        ),
        (
            {
                "criterion": {"name": "q3", "of": {"name": "noise_resilience", "sigma": 0.2}},
                "measures": [{"name": "noise_resilience", "of": "all"}],
            },
            ExperimentError,
            "an instance is measured once",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_trains(sections, error, text):
    with pytest.raises(error, match=text):
        build(experiment(**sections))


def test_only_a_measure_of_one_instance_can_steer():
    from raysearch.training.measures.local_instability import LocalInstability

    assert LocalInstability.over == "instances"
    assert objectives.parse({"name": "q3", "of": "curvature"}).metric == "curvature.top_eigenvalue"
    assert objectives.parse("q3").metric is None


@pytest.mark.parametrize(
    ("sections", "valid"),
    [
        ({"measures": ["curvature", {"name": "adversarial", "of": "all", "epsilon": 0.1}]}, True),
        ({"measures": [{"name": "curvature", "off": "all"}]}, False),
        ({"criterion": {"name": "q3", "of": {"name": "noise_resilience", "sigma": 0.2}}}, True),
        ({"criterion": {"name": "q3", "of": "sharpness"}}, False),
    ],
)
def test_editors_complete_measures_by_the_schema(sections, valid):
    import jsonschema

    from raysearch.experiment.schema import json_schema

    checker = jsonschema.Draft202012Validator(json_schema())
    assert checker.is_valid({"workload": "digits", "space": {"hidden": [[8]]}, **sections}) is valid


def test_a_search_in_python_measures_too(tmp_path):
    from raysearch.driver.search import search
    from raysearch.training.measures.generalization_gap import GeneralizationGap

    section = {**WORKLOAD, "epochs": 1}
    asked = [GeneralizationGap(), {"name": "calibration", "of": "all"}]
    steering = {"name": "max", "of": "corruption"}
    rule = {"name": "halving", "warmup": 2}
    quiet = {"execution": "local", "tracking": None, "progress": False, "run_dir": tmp_path / "run"}
    search(section, space=SPACE, criterion=steering, measures=asked, rule=rule, confirm=2, **quiet)
    metrics = load(tmp_path / "run")["metrics"].map(json.loads)
    assert all({"calibration.miscalibration", "corruption.mean_error"} <= set(values) for values in metrics)
    assert {f.measure for f in read_measured(entries(read(tmp_path / "run" / "journal.jsonl")))} == {
        "generalization_gap"
    }
