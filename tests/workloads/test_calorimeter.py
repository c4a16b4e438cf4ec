import dataclasses
import importlib
import itertools
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError, ResourceError, UnknownNameError
from raysearch.records import Configuration, Status
from raysearch.workloads._calorimeter.architecture import Architecture
from raysearch.workloads._calorimeter.showers import simulate

TRAINING = {"optimizer": "AdamW", "lr": 0.003, "batch_size": 32, "weight_decay": 0.01}
SMALL = {"conv1": 4, "fc": [9], "feature": True, **TRAINING}

# the published table: parameters and their exact number
PAPER = {
    "Model 1": ("energy", {"conv1": 32, "conv2": 64, "pool2": [2, 1], "fc": [9]}, 23_923),
    "Model 2": ("energy", {"conv1": 32, "conv2": 64, "pool2": [2, 1], "fc": [9], "feature": True}, 23_932),
    "Model 3": ("position", {"conv1": 32, "conv2": 64, "pool2": 4, "fc": [64, 9], "activation": "PReLU"}, 23_644),
    "Model 4": (
        "position",
        {"conv1": 32, "conv2": 64, "pool2": 4, "fc": [64, 9], "activation": "PReLU", "feature": True},
        23_662,
    ),
    "NAS 1": ("energy", {"conv1": 32, "conv2": 16, "pool2": 4, "fc": [32, 9], "feature": True}, 5_756),
    "NAS 2": ("energy", {"conv1": 32, "conv2": 16, "pool2": 4, "fc": [128, 64, 9], "feature": True}, 15_932),
}


def quiet(epoch, loss):
    pass


def make(**settings):
    small = {"n_train": 200, "n_pool": 400, "n_validation": 100, "n_test": 100, "epochs": 2}
    return registry.load("workloads", "calorimeter", **(small | settings))


@pytest.fixture(scope="module")
def data():
    return make().prepare()


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_networks_have_their_exact_number_of_parameters(name):
    from raysearch.workloads._calorimeter.networks import Network

    target, parameters, n = PAPER[name]
    assert make(target=target).n_parameters(parameters) == n
    network = Network(Architecture.of(parameters), target)
    assert sum(parameter.numel() for parameter in network.parameters()) == n


@pytest.mark.parametrize("target", ["energy", "position"])
def test_the_formula_counts_what_torch_counts(target):
    import torch

    from raysearch.workloads._calorimeter.networks import Network

    for activation, feature in itertools.product(["PReLU", "Tanh", "GELU"], [False, True]):
        for architecture in (
            Architecture(conv1=3, fc=(5,), feature=feature, activation=activation),
            Architecture(conv1=2, conv2=3, kernel=5, pool1=(1, 1), fc=(7, 4), feature=feature, activation=activation),
        ):
            network = Network(architecture, target)
            assert sum(p.numel() for p in network.parameters()) == architecture.n_parameters(target), architecture
            assert network(torch.rand(6, 15, 15)).shape == (6,), architecture


@pytest.mark.process
def test_counting_parameters_and_checking_needs_no_torch():
    code = (
        "import sys; from raysearch import registry; w = registry.load('workloads', 'calorimeter');"
        "p = dict(conv1=8, fc=[9], optimizer='AdamW', lr=0.1, batch_size=8);"
        "w.check(p); w.n_parameters(p); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_same_seed_same_loss_and_another_seed_another(data):
    workload, configuration = make(), Configuration.of(SMALL)
    one, two = workload.train(configuration, [1, 2], quiet, data)
    (again,) = workload.train(configuration, [1], quiet, data)
    assert one == dataclasses.replace(again, seconds=one.seconds)
    assert one.weights == again.weights
    assert one.loss != two.loss
    assert one.status is Status.COMPLETE
    assert one.epochs == 2
    assert one.loss == one.curve[-1]
    assert one.test_loss is not None
    assert one.seconds > 0


def test_vary_says_whether_initial_weights_differ(data):
    import safetensors.torch

    configuration = Configuration.of({**SMALL, "lr": 1e-12})  # trains nothing: the final weights are the initial ones
    for vary, same in (("weights", False), ("sample", True), ("both", False)):
        results = make(vary=vary, epochs=1).train(configuration, [1, 2], quiet, data)
        one, two = (safetensors.torch.load(result.weights)["output.weight"] for result in results)
        assert one.allclose(two) == same, vary


def test_the_sample_depends_on_the_seed_alone_and_on_nothing_where_weights_vary(data, monkeypatch):
    from raysearch.training import loop as training

    seen = []
    instance = training.instance
    monkeypatch.setattr(training, "instance", lambda *a, **k: seen.append(a[1].sets.train[1]) or instance(*a, **k))
    for vary in ("both", "weights"):
        workload = make(epochs=1, vary=vary)
        for parameters in (SMALL, {**SMALL, "conv1": 5}):
            workload.train(Configuration.of(parameters), [1, 2], quiet, data)
    both, weights = seen[:4], seen[4:]
    assert both[0].equal(both[2]), "paired: another configuration, the same seed, the same sample"
    assert not both[0].equal(both[1])
    assert set(both[0].tolist()) <= set(data["pool_targets"].tolist())
    assert all(sample.equal(weights[0]) for sample in weights)


def test_a_diverging_instance_is_a_result(data):
    (result,) = make(epochs=4).train(Configuration.of({**SMALL, "optimizer": "SGD", "lr": 1e12}), [0], quiet, data)
    assert result.status is Status.DIVERGED
    assert result.loss == np.inf


def test_the_exception_of_a_stopped_instance_passes(data):
    class Stop(Exception):
        pass

    heard = []

    def report(epoch, loss):
        heard.append((epoch, loss))
        raise Stop

    with pytest.raises(Stop):
        make().train(Configuration.of(SMALL), [0], report, data)
    assert [epoch for epoch, _ in heard] == [1]


def test_predict_gives_what_training_saw(data):
    workload = make()
    (result,) = workload.train(Configuration.of(SMALL), [3], quiet, data)
    predicted = workload.predict(SMALL, result.weights, data["test_cells"])
    assert predicted.shape == (100,)
    relative = (predicted - data["test_targets"]) / data["test_targets"]
    assert np.sqrt(np.mean(relative**2)) == pytest.approx(result.test_loss, rel=1e-4)
    assert workload.example(data).shape == (5, 15, 15)


def test_a_short_training_learns_energy_and_position(data):
    energy = make(epochs=12, n_train=400)
    (result,) = energy.train(Configuration.of({**SMALL, "batch_size": 16}), [0], quiet, data)
    assert result.loss < 0.1  # guessing one energy for all gives about 0.4
    position = make(target="position", epochs=12, n_train=400)
    cells = position.prepare()
    (result,) = position.train(Configuration.of({**SMALL, "batch_size": 16}), [0], quiet, cells)
    assert result.loss < 0.56  # the centre of the matrix for all gives 0.577


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"con1": 3}, "Did you mean 'conv1'"),
        ({"optimizer": "NAdm"}, "Did you mean 'NAdam'"),
        ({"activation": "relu"}, "ReLU"),
        ({"pool1": 20}, "nothing is left of 15 cells"),
        ({"lr": 0.0}, "lr must be above 0, got 0.0"),
        ({"lr": "1e-3"}, "lr must be a number, got '1e-3': that is text, write it without quotes"),
        ({"batch_size": 32.5}, "batch_size must be a whole number, got 32.5"),
        ({"conv1": "8"}, "conv1 must be a whole number, got '8': that is text, write it without quotes"),
        ({"fc": ["9"]}, "fc = ['9'] is not a list of whole numbers"),
        ({"feature": "sum"}, "feature must be true or false, got 'sum'"),
        ({"fc": []}, "fc must be a list of 1 or more, got ()"),
        ({"loss": "clff"}, "unknown name in losses 'clff'"),
        ({"loss_alpha": 0.1}, "loss_alpha without a 'loss'"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ExperimentError) as caught:
        make().check(SMALL | change)
    assert text in str(caught.value)


def test_missing_parameters_and_bad_settings_are_refused():
    with pytest.raises(ExperimentError, match="'lr' is missing"):
        make().check({name: value for name, value in SMALL.items() if name != "lr"})
    with pytest.raises(UnknownNameError, match="Did you mean 'energy'"):
        make(target="enrgy")
    with pytest.raises(UnknownNameError, match="both"):
        make(vary="all")
    with pytest.raises(ExperimentError, match="n_pool = 100 is smaller"):
        make(n_pool=100)


def test_a_gpu_that_is_not_there_is_a_clear_error(data):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(ResourceError, match="sees no GPU"):
        make(device="cuda").train(Configuration.of(SMALL), [0], quiet, data)


def test_showers_are_fast_and_look_like_the_published_ones():
    start = time.process_time()
    showers = simulate(10_000, "B", np.random.default_rng(1))
    assert time.process_time() - start < 3.0  # 100,000 in under 30 s
    assert showers.cells.dtype == np.float32
    assert np.abs(showers.theta_x).max() <= 0.31
    assert np.abs(showers.x_cm).max() <= 1.0
    assert showers.energy_gev.max() <= 100.0
    counts, edges = np.histogram(showers.energy_gev, bins=np.arange(0, 102, 2))
    assert 6 <= edges[counts.argmax()] <= 10
    level = simulate(4000, "A", np.random.default_rng(2))
    assert not level.theta_x.any()
    near_65 = np.abs(level.energy_gev - 65) < 3
    assert level.cells[near_65].max(axis=(1, 2)).mean() == pytest.approx(9.0, abs=0.5)
    row = level.cells[near_65].mean(axis=0)[7]
    assert row[3] > 0.1  # visible to +-4 cells
    assert row[11] > 0.1


def test_the_simulation_depends_on_its_generator_only():
    one, two = (simulate(50, "B", np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one.cells, two.cells)
    assert not np.array_equal(one.cells, simulate(50, "B", np.random.default_rng(6)).cells)


@pytest.fixture
def baselines(monkeypatch):
    """What benchmarks compare with."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    return importlib.import_module("_baselines")


def test_the_parametric_baselines_land_where_the_published_ones_do(baselines):
    train, test = (simulate(8000, "B", np.random.default_rng(seed)) for seed in (3, 4))
    energy = baselines.calibrated_sum(train.cells, train.energy_gev)(test.cells)
    assert 0.022 <= np.sqrt(np.mean((energy / test.energy_gev - 1) ** 2)) <= 0.025
    position = baselines.s_curve(train.cells, train.x_cm)(test.cells)
    error = np.sqrt(np.mean((position - test.x_cm) ** 2))
    assert 0.43 <= error <= 0.50  # published .460
    assert error < 0.9 * test.x_cm.std()


def test_the_xgboost_baseline_learns_energy(baselines):
    pytest.importorskip("xgboost")
    train, test = (simulate(2000, "B", np.random.default_rng(seed)) for seed in (3, 4))
    predict = baselines.boosted_trees(train.cells, train.energy_gev, "energy", n_trees=50)
    assert np.sqrt(np.mean((predict(test.cells) / test.energy_gev - 1) ** 2)) < 0.15
