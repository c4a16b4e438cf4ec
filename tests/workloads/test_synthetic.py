import math
import time

import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.records import Configuration, Status


def quiet(epoch, loss):
    pass


def make(**settings):
    return registry.load("workloads", "synthetic", **settings)


def test_the_same_configuration_and_seed_give_the_same_loss():
    workload, configuration = make(epochs=3), Configuration.of({"level": 2.0, "spread": 0.5})
    first = workload.train(configuration, [3, 4], quiet)
    again = workload.train(configuration, [4, 3], quiet)
    assert [r.loss for r in first] == [r.loss for r in reversed(again)]
    assert first[0].loss != first[1].loss
    assert [r.loss for r in first] == workload.losses(configuration, [3, 4]).tolist()


@pytest.mark.parametrize("q", [0.1, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("bad", [0.0, 0.2])
def test_sampled_quantiles_agree_with_the_truth(q, bad):
    workload, parameters = make(), {"level": 1.0, "spread": 0.1, "bad": bad}
    losses = workload.losses(Configuration.of(parameters), range(4000))
    below = np.mean(losses <= workload.quantile(parameters, q))
    assert abs(below - q) < 4 * math.sqrt(q * (1 - q) / 4000)


def test_the_median_is_the_level_and_the_truth_of_a_criterion_follows():
    workload = make()
    assert workload.quantile({"level": 0.3, "spread": 0.2}, 0.5) == pytest.approx(0.3)
    q3 = registry.load("criteria", "q3")
    expected = workload.quantile({"level": 0.3}, 0.75)
    assert workload.truth({"level": 0.3}, q3) == pytest.approx(expected, rel=1e-3)


def test_the_diverging_share_is_infinite_and_counts():
    workload, parameters = make(), {"diverging": 0.3}
    assert workload.quantile(parameters, 0.71) == math.inf
    assert workload.quantile(parameters, 0.35) == pytest.approx(0.0, abs=1e-6)
    results = workload.train(Configuration.of(parameters), range(500), quiet)
    share = np.mean([result.status is Status.DIVERGED for result in results])
    assert abs(share - 0.3) < 0.09
    assert all(r.loss == math.inf for r in results if r.status is Status.DIVERGED)


@pytest.mark.parametrize("pairing", [0.0, 0.8])
def test_pairing_is_the_correlation_of_two_configurations_at_the_same_seeds(pairing):
    workload = make(pairing=pairing, skew=0.0, tail=0.0)
    one, two = Configuration.of({"level": 1.0}), Configuration.of({"level": 2.0})
    seeds = range(3000)
    correlation = np.corrcoef(workload.losses(one, seeds), workload.losses(two, seeds))[0, 1]
    assert abs(correlation - pairing) < 0.06


def test_reports_come_every_epoch_and_a_stopped_instance_ends_there(monkeypatch):
    class Stop(Exception):
        pass

    heard = []

    def report(epoch, loss):
        heard.append(epoch)
        if epoch == 2:
            raise Stop

    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with pytest.raises(Stop):
        make(epochs=4, seconds=0.4).train(Configuration.of({}), [0], report)
    assert heard == [1, 2]
    assert slept == pytest.approx([0.1, 0.1])


def test_the_curve_falls_to_the_final_loss():
    (result,) = make(epochs=5).train(Configuration.of({}), [0], quiet)
    assert result.epochs == 5
    assert result.curve[-1] == pytest.approx(result.loss)
    assert list(result.curve) == sorted(result.curve, reverse=True)


@pytest.mark.parametrize("folder", ["not/there", "../../not_there", "\ud800"])
def test_no_folder_is_made_for_the_marks_of_failures(folder, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    with pytest.raises(ExperimentError, match=r"fail_once_in = .* is no folder: make it first"):
        make(fail=1.0, fail_once_in=folder).check({})
    assert [*tmp_path.rglob("*")] == [tmp_path / "run"]


def test_failures_are_fixed_by_the_seed_and_may_pass_the_second_time(tmp_path):
    workload = make(fail=0.5, fail_once_in=str(tmp_path))
    failing = []
    for seed in range(20):
        try:
            workload.train(Configuration.of({}), [seed], quiet)
        except RuntimeError:
            failing.append(seed)
    assert 3 <= len(failing) <= 17
    for seed in failing:
        workload.train(Configuration.of({}), [seed], quiet)
        with pytest.raises(RuntimeError, match=f"seed {seed}"):
            make(fail=0.5).train(Configuration.of({}), [seed], quiet)


def test_bad_input_is_refused():
    with pytest.raises(UnknownNameError, match="Did you mean 'level'"):
        make().check({"levl": 1.0})
    with pytest.raises(ExperimentError, match="spread = -1"):
        make().check({"spread": -1.0})
    with pytest.raises(ExperimentError, match="no number"):
        make().check({"level": "high"})
    with pytest.raises(ExperimentError, match="pairing must be at most 1, got 2"):
        make(pairing=2)
    with pytest.raises(UnknownNameError, match="raise"):
        make(failure="rise")
