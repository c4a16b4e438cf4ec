from pathlib import Path

import pytest

from raysearch import registry
from raysearch.experiment import experiment

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
