import math
import pathlib
import tempfile
import types

import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError, WorkloadError
from raysearch.records import Configuration, Status

CONFIGURATION = Configuration.of({"lr": 0.5})


def train(fn, seeds=(1,)):
    """Return the results of a function, and what it reported on the way."""
    reports = []
    workload = registry.load("workloads", "function", fn=fn)
    results = workload.train(
        CONFIGURATION, seeds, lambda epoch, loss: reports.append((epoch, loss)), workload.prepare()
    )
    return results, reports


def test_a_function_returns_its_loss():
    results, reports = train(lambda config, seed: config["lr"] * seed, seeds=(1, 2, 3))
    assert [result.loss for result in results] == [0.5, 1.0, 1.5]
    assert [result.key.seed for result in results] == [1, 2, 3]
    assert {result.key.configuration_id for result in results} == {CONFIGURATION.id}
    assert reports == []


def test_numbers_of_other_libraries_are_numbers():
    for value in (3, 3.0, np.float32(3), np.int64(3), np.array(3.0)):
        ((result,), _) = train(lambda config, seed, value=value: value)
        assert result.loss == 3.0
        assert type(result.loss) is float, repr(value)


def test_a_torch_scalar_is_a_number():
    import torch

    ((result,), _) = train(lambda config, seed: torch.tensor(0.25, requires_grad=True))
    assert result.loss == 0.25


def test_a_mapping_holds_loss_test_loss_and_other_numbers():
    answer = {"loss": 0.1, "test_loss": np.float64(0.2), "accuracy": 0.9, "note": "text", "best": None}
    ((result,), _) = train(lambda config, seed: answer)
    assert (result.loss, result.test_loss, result.metrics) == (0.1, 0.2, {"accuracy": 0.9})


def test_a_generator_yields_the_loss_of_each_epoch_and_the_last_one_counts():
    def fn(config, seed):
        for epoch in range(3):
            yield 1.0 / (epoch + 1)

    ((result,), reports) = train(fn)
    assert result.curve == (1.0, 0.5, pytest.approx(1 / 3))
    assert result.loss == result.curve[-1]
    assert reports == list(enumerate(result.curve, start=1))


def test_a_generator_may_yield_mappings():
    def fn(config, seed):
        yield {"loss": 2.0}
        yield {"loss": 1.0, "test_loss": 1.5, "accuracy": 0.7}

    ((result,), _) = train(fn)
    assert (result.loss, result.curve, result.test_loss, result.metrics) == (1.0, (2.0, 1.0), 1.5, {"accuracy": 0.7})


def test_a_report_that_raises_ends_the_generator():
    class Stopped(BaseException):
        pass

    closed = []

    def fn(config, seed):
        try:
            yield 1.0
            yield 0.5
        finally:
            closed.append(True)

    def report(epoch, loss):
        raise Stopped

    with pytest.raises(Stopped):
        registry.load("workloads", "function", fn=fn).train(CONFIGURATION, (1,), report, None)
    assert closed == [True]


class OfTune:
    """A class Trainable as Ray Tune takes it: setup in its constructor, step, cleanup."""

    cleaned = 0

    def __init__(self, config):
        self.config, self.left = config, 3

    def step(self):
        self.left -= 1
        return {"loss": self.config["lr"] * self.left + self.config["seed"], "done": self.left == 0}

    def cleanup(self):
        type(self).cleaned += 1


def test_a_class_with_steps_is_trained_until_it_is_done_and_cleaned_up():
    before = OfTune.cleaned
    ((result,), _) = train(OfTune, seeds=(10,))
    assert result.curve == (11.0, 10.5, 10.0)
    assert OfTune.cleaned == before + 1


def test_a_real_tune_trainable_works():
    from ray.tune import Trainable

    class Real(Trainable):
        def setup(self, config):
            self.value = config["lr"] + config["seed"]

        def step(self):
            self.value /= 2
            return {"loss": self.value, "done": self.value < 1}

    ((result,), _) = train(Real, seeds=(3,))
    assert result.curve == (1.75, 0.875)


def test_a_tune_trainable_leaves_no_folder_behind(tmp_path, monkeypatch):
    from ray.tune import Trainable

    class Writes(Trainable):
        def setup(self, config):
            self.left = 2

        def step(self):
            self.left -= 1
            pathlib.Path(self.logdir, "notes.txt").write_text("one")
            return {"loss": len(list(pathlib.Path(self.logdir).iterdir())), "done": self.left == 0}

        def cleanup(self):
            assert pathlib.Path(self.logdir, "notes.txt").exists()

    monkeypatch.setattr("ray.tune.trainable.trainable.DEFAULT_STORAGE_PATH", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ((result,), _) = train(Writes, seeds=(3,))
    assert result.curve == (1.0, 1.0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_is_a_result(value):
    ((result,), _) = train(lambda config, seed: value)
    assert (result.status, result.loss) == (Status.DIVERGED, math.inf)


def test_a_generator_ends_where_it_diverges():
    def fn(config, seed):
        yield 1.0
        yield math.nan
        raise AssertionError("went on after it had diverged")

    ((result,), _) = train(fn)
    assert (result.status, result.loss, len(result.curve)) == (Status.DIVERGED, math.inf, 2)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (None, "fit must give a loss .* it gave None"),
        ("0.5", "it gave '0.5'"),
        (True, "it gave True"),
        (1j, "it gave 1j"),
        (np.ones(2), "it gave array"),
        ({"accuracy": 0.5}, "a mapping without a number under 'loss': {'accuracy': 0.5}"),
        ({"loss": None}, "a mapping without a number under 'loss'"),
        ({}, "a mapping without a number under 'loss'"),
    ],
)
def test_no_number_is_refused_with_what_was_given(answer, message):
    def fit(config, seed):
        return answer

    with pytest.raises(WorkloadError, match=message):
        train(fit)


def test_a_generator_without_a_loss_is_refused():
    def fit(config, seed):
        yield from ()

    with pytest.raises(WorkloadError, match=r"fit yielded no loss"):
        train(fit)


def test_what_the_function_raises_passes():
    def fit(config, seed):
        raise KeyError("boom")

    with pytest.raises(KeyError, match=r"boom"):
        train(fit)


def test_the_function_cannot_change_the_configuration():
    def fit(config, seed):
        config["lr"] = 100
        return 0.0

    train(fit)
    assert CONFIGURATION.parameters == {"lr": 0.5}


def test_nested_parameters_are_not_shared_between_instances():
    configuration = Configuration.of({"hidden": [1], "optimizer": {"betas": [0.9]}})

    def fit(config, seed):
        config["hidden"].append(1)
        config["optimizer"]["betas"].append(0.5)
        return len(config["hidden"]) + len(config["optimizer"]["betas"])

    results = registry.load("workloads", "function", fn=fit).train(configuration, (1, 2, 3), lambda *_: None, None)
    assert [result.loss for result in results] == [4.0, 4.0, 4.0]
    assert configuration.parameters == {"hidden": [1], "optimizer": {"betas": [0.9]}}


@pytest.mark.parametrize("fn", [5, None, "train", types.SimpleNamespace()])
def test_what_cannot_be_called_is_refused(fn):
    with pytest.raises(ExperimentError, match=r"train must be a function of \(config, seed\), got"):
        registry.load("workloads", "function", fn=fn)


def train_many(many, seeds=(1, 2, 3), end=lambda member, epoch: False):
    """Return the results of a pack by member, and what it reported on the way."""
    reports = []

    def report(member, epoch, loss):
        reports.append((member, epoch, loss))
        return not end(member, epoch)

    workload = registry.load("workloads", "function", fn=lambda config, seed: config["lr"] * seed, many=many)
    assert workload.pack_key({"lr": 0.5}) == workload.pack_key({"lr": 0.5}) != workload.pack_key({"lr": 0.1})
    return dict(workload.train_pack([(CONFIGURATION, seed) for seed in seeds], report, None)), reports


async def awaits(config, seed):
    return 1.0


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (lambda config: 1.0, r"got .*\(config\): too many positional arguments"),
        (lambda config, seed, device: 1.0, r"got .*\(config, seed, device\): missing a required argument: 'device'"),
        (lambda *, config, seed: 1.0, r"got .*\(\*, config, seed\): too many positional"),
        (awaits, r"awaits is `async`"),
    ],
)
def test_a_function_of_something_else_is_refused_before_anything_trains(fn, message):
    with pytest.raises(ExperimentError, match=rf"train must be a .*function of \(config, seed\), {message}"):
        registry.load("workloads", "function", fn=fn)
    with pytest.raises(ExperimentError, match=r"train_many must be a .*function of \(config, seeds\)"):
        registry.load("workloads", "function", fn=lambda config, seed, device="cpu": 1.0, many=fn)


def test_many_seeds_of_a_configuration_train_at_once():
    found, reports = train_many(lambda config, seeds: config["lr"] * np.array(seeds))
    assert {member: result.loss for member, result in found.items()} == {0: 0.5, 1: 1.0, 2: 1.5}
    assert [found[member].key.seed for member in range(3)] == [1, 2, 3]
    assert reports == []
    found, _ = train_many(lambda config, seeds: [{"loss": seed, "test_loss": 2 * seed, "more": 1} for seed in seeds])
    assert found[1].test_loss == 4.0
    assert found[1].metrics == {"more": 1.0}


def test_many_seeds_may_tell_each_epoch_and_each_may_end_for_itself():
    n_epochs = []

    def many(config, seeds):
        for epoch in range(1, 5):
            n_epochs.append(epoch)
            yield [math.inf if seed == 2 and epoch == 2 else seed / epoch for seed in seeds]

    found, reports = train_many(many, end=lambda member, epoch: member == 0 and epoch == 3)
    assert sorted(found) == [1, 2], "the first one was ended: nobody waits for it"
    assert found[1].status is Status.DIVERGED
    assert found[1].curve == (2.0, math.inf)
    assert found[2].curve == (3.0, 1.5, 1.0, 0.75)
    assert [report[:2] for report in reports if report[0] == 0] == [(0, 1), (0, 2), (0, 3)]
    n_epochs.clear()
    assert train_many(many, end=lambda member, epoch: True)[0] == {}
    assert n_epochs == [1], "nobody is left to train"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1.0], "a list of 3 answers, one for each seed; it gave \\[1.0\\]"),
        (1.0, "a list of 3 answers"),
        ({"loss": 1.0}, "a list of 3 answers"),
        ([1.0, None, 2.0], "must give a loss"),
        (iter([]), "yielded no losses"),
    ],
)
def test_many_seeds_want_an_answer_each(answer, message):
    with pytest.raises(WorkloadError, match=message):
        train_many(lambda config, seeds: answer)


def test_what_trains_many_is_a_function():
    with pytest.raises(ExperimentError, match="train_many must be a function of \\(config, seeds\\), got 3"):
        train_many(3)


@pytest.mark.parametrize("pack", [4, "auto"])
def test_a_search_by_many_is_that_of_one_by_one(pack, tmp_path):
    import raysearch

    calls = []

    def one(config, seed):
        return config["x"] + seed % 1000 / 1e5

    def many(config, seeds):
        calls.append(len(seeds))
        return [one(config, seed) for seed in seeds]

    def search(run_dir, **more):
        rule = {"name": "halving", "warmup": 4}
        space = {"x": [0.1, 0.2, 0.3]}
        return raysearch.search(
            one, space=space, rule=rule, confirm=6, run_dir=run_dir, tracking=None, progress=False, **more
        )

    alone = search(tmp_path / "alone", execution="local")
    found = search(tmp_path / "many", execution={"name": "local", "pack": pack}, train_many=many)
    assert found.verdict == alone.verdict
    assert max(calls) > 1
    with pytest.raises(ExperimentError, match="train_many stands beside a function"):
        raysearch.search("digits", space={"x": [1]}, train_many=many)
