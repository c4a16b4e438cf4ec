from pathlib import Path

import numpy as np
import pytest

from raysearch import registry
from raysearch.experiment import experiment
from raysearch.records import Configuration, Status

FOLDER = Path(__file__).parents[1] / "search_spaces"
KEYS = ("conv1", "conv2", "pool2", "fc", "feature", "activation", "optimizer", "lr", "batch_size", "weight_decay")

# the paper's table, and each row's exact number of parameters
ROWS = {
    "energy": {
        "Model 1": ((32, 64, [2, 1], [9], False, "ReLU", "NAdam", 1e-4, 64, 0.01), 23_923),
        "Model 2": ((32, 64, [2, 1], [9], True, "ReLU", "AdamW", 1e-3, 32, 0.1), 23_932),
        "NAS 1": ((32, 16, [4, 4], [32, 9], True, "ReLU", "AdamW", 1e-3, 32, 0.001), 5_756),
        "NAS 2": ((32, 16, [4, 4], [128, 64, 9], True, "ReLU", "AdamW", 1e-2, 32, 0.01), 15_932),
    },
    "position": {
        "Model 3": ((32, 64, [4, 4], [64, 9], False, "PReLU", "AdamW", 1e-4, 32, 0.1), 23_644),
        "Model 4": ((32, 64, [4, 4], [64, 9], True, "PReLU", "AdamW", 1e-4, 32, 0.1), 23_662),
    },
}


@pytest.mark.parametrize("target", ROWS)
def test_the_papers_spaces_have_6912_valid_configurations_with_its_rows_among_them(target):
    search = experiment.from_file(FOLDER / f"calorimeter_{target}.yaml")
    workload = search.load("workload")
    configurations = list(search.build_space(workload).enumerate())
    assert len({configuration.id for configuration in configurations}) == 6912
    assert all(workload.n_parameters(configuration.parameters) <= 30_000 for configuration in configurations)
    parameters = [dict(configuration.parameters) for configuration in configurations]
    for row, n in ROWS[target].values():
        wanted = dict(zip(KEYS, row, strict=True))
        assert wanted in parameters
        assert workload.n_parameters(wanted) == n


def test_every_configuration_of_every_file_can_be_trained():
    for path in sorted(FOLDER.glob("*.yaml")):
        search = experiment.from_file(path)  # its errors name the file
        workload = search.load("workload")
        for section in ("criterion", "rule", "sampler", "execution", "tracking"):
            search.load(section)
        propose = search.load("sampler").bind(search.build_space(workload), search.seed, search.load("criterion"))
        configurations = propose([])
        for configuration in configurations:
            workload.check(configuration.parameters)
        assert len(configurations) > 1, path


def test_files_name_workloads_that_exist():
    named = {experiment.from_file(path).load("workload").__class__.__module__ for path in FOLDER.glob("*.yaml")}
    assert {module.rpartition(".")[2] for module in named} <= set(registry.names("workloads"))


def parameters_of(search, workload=None):
    return [dict(one.parameters) for one in search.build_space(workload or search.load("workload")).enumerate()]


def test_the_follow_ups_72_resnets_are_the_same_on_cifar10_and_thinner_on_fashion_mnist():
    cifar10, fashion = (
        experiment.from_file(FOLDER / f"{name}.yaml") for name in ("cifar10_resnet18", "fashion_mnist_resnet72")
    )
    wide, thin = parameters_of(cifar10), parameters_of(fashion)
    assert len({Configuration.of(own).id for own in wide}) == 72
    assert [{**own, "width": 8 * own["width"], "network": "resnet", "flip": True} for own in thin] == [
        {**own, "network": "resnet", "flip": True} for own in wide
    ]
    assert cifar10.load("workload").n_parameters({**wide[-1]}) == 11_173_962  # ResNet-18
    rule = cifar10.load("rule")
    assert rule.plan(72)[0] == 285


def test_the_72_resnets_train_on_files_in_cifar10s_format(tmp_path):
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        labels = np.arange(10, dtype=np.uint8)[:, None]
        pixels = generator.integers(0, 256, size=(10, 3 * 32 * 32), dtype=np.uint8)
        np.concatenate([labels, pixels], axis=1).tofile(tmp_path / name)
    search = experiment.from_file(FOLDER / "cifar10_resnet18.yaml").with_values(
        {"workload.folder": str(tmp_path), "workload.n_validation": 10, "workload.epochs": 1}
    )
    workload = search.load("workload")
    data = workload.prepare()
    for own in parameters_of(search)[::23]:
        (result,) = workload.train(Configuration.of({**own, "width": 2}), [1], lambda *_: None, data)
        assert result.status is Status.COMPLETE
        assert data["pool_images"].shape == (40, 3, 32, 32)


def test_fashion_mnists_space_has_every_kind_of_network():
    search = experiment.from_file(FOLDER / "fashion_mnist.yaml")
    workload = search.load("workload")
    own = search.load("sampler").bind(search.build_space(workload), search.seed, search.load("criterion"))([])
    assert {one.parameters["network"] for one in own} == {"perceptron", "lenet", "resnet"}
    assert all(workload.n_parameters(one.parameters) <= 250_000 for one in own)
