"""A network of one's own: in Python and from a file, alone and in packs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raysearch.driver.run import run
from raysearch.driver.search import search
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import from_data
from raysearch.records import Configuration, Status
from raysearch.storage.journal import read
from raysearch.workloads.module import Module

RECIPE = {"optimizer": "AdamW", "lr": 0.01, "batch_size": 16}
SOURCE = """
import numpy as np
import torch


def build(parameters):
    width = parameters["width"]
    return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Tanh(), torch.nn.Linear(width, 2))


def data():
    inputs = np.random.default_rng(0).normal(size=(200, 3))
    return inputs, (inputs.sum(axis=1) > 0).astype(int)


NUMBER = 3
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_networks.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "their_networks"
    sys.modules.pop("their_networks", None)


def build(parameters: Any) -> torch.nn.Module:
    return torch.nn.Sequential(
        torch.nn.Linear(3, parameters["width"]),
        torch.nn.ReLU(),
        torch.nn.Linear(parameters["width"], 1),
        torch.nn.Flatten(0),
    )


def examples() -> dict[str, Any]:
    inputs = np.random.default_rng(1).normal(size=(120, 3))
    targets = inputs @ [1.0, -2.0, 0.5]
    rows = {"pool": slice(0, 80), "validation": slice(80, 100), "test": slice(100, 120)}
    return {f"{n}_{w}": a[r] for n, r in rows.items() for w, a in (("inputs", inputs), ("targets", targets))}


def test_a_network_from_a_file_is_searched_in_packs_as_alone(package: str, tmp_path: Path) -> None:
    told = []
    for pack in (1, 6):
        experiment = {
            "name": "own",
            "workload": {"name": "module", "module": f"{package}.build", "data": f"{package}.data", "epochs": 3},
            "space": {"width": [4, 8], "optimizer": ["AdamW"], "lr": [0.003, 0.03], "batch_size": [16]},
            "rule": {"name": "halving", "warmup": 2},
            "race": {"confirm": 2},
            "execution": {"name": "local", "pack": pack},
            "tracking": "silent",
        }
        result = run(from_data(experiment), tmp_path / f"run{pack}")
        lines = read(tmp_path / f"run{pack}" / "journal.jsonl")
        told.append({(e["configuration"], e["seed"]): e["loss"] for e in lines if e["event"] == "tell"})
        assert result.verdict.confirmation is not None
    assert told[0] == told[1]
    assert len(told[0]) > 8


def test_a_regression_of_functions_learns_and_predicts(tmp_path: Path) -> None:
    workload = Module(build, examples, task="rmse", epochs=40)
    result = search(
        workload,
        space={"width": [16], "optimizer": ["AdamW"], "lr": [0.03], "batch_size": [16]},
        rule={"name": "halving", "warmup": 2},
        confirm=2,
        run_dir=tmp_path / "run",
        tracking="silent",
        execution="local",
        progress=False,
    )
    assert result.verdict.confirmation.criterion < 0.5
    data = workload.prepare()
    (one,) = workload.train(Configuration.of({**RECIPE, "width": 4}), [3], lambda epoch, loss: None, data)
    assert one.status is Status.COMPLETE
    assert workload.predict({"width": 4}, one.weights, workload.example(data)).shape == (5,)


def test_packs_have_one_network_whatever_the_recipe() -> None:
    own = Module(build, examples, task="rmse")
    key = own.pack_key({**RECIPE, "width": 4})
    assert key == own.pack_key({**RECIPE, "width": 4, "lr": 0.1, "weight_decay": 0.1})
    assert key != own.pack_key({**RECIPE, "width": 8})
    assert key != own.pack_key({**RECIPE, "width": 4, "batch_size": 8})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module": "no_such_package.build"}, r"module = 'no_such_package.build' cannot be imported: No module named"),
        ({"module": "their_networks.bild"}, r"cannot be imported: .*bild.*PYTHONPATH"),
        ({"module": "build"}, "must be a function, or where to import it"),
        ({"data": "their_networks.NUMBER"}, "is 3, no function"),
        ({"share": 0.5}, "share must be below 0.5"),
        ({"score": "worst"}, "score"),
    ],
)
def test_what_is_no_network_of_ones_own_is_refused(package: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ExperimentError, match=message):
        Module(**{"module": f"{package}.build", "data": f"{package}.data", **changes})


def test_what_goes_wrong_in_it_is_named_before_anything_trains(package: str) -> None:
    with pytest.raises(ExperimentError, match=r"no network of .*: KeyError: 'width'"):
        Module(build, examples).check(RECIPE)
    with pytest.raises(ExperimentError, match=r"which is no torch\.nn\.Module"):
        Module(lambda parameters: 3, examples).check(RECIPE)
    with pytest.raises(ExperimentError, match="data has no pool_targets"):
        Module(build, lambda: {k: v for k, v in examples().items() if k != "pool_targets"}).prepare()
    with pytest.raises(ExperimentError, match="data has 3 inputs, but 2 targets"):
        Module(build, lambda: ([[1.0]] * 3, [0, 1])).prepare()
    with pytest.raises(ExperimentError, match=r"return \(inputs, targets\)"):
        Module(build, lambda: None).prepare()
    own = Module(build, examples, task="rmse", n_train=999)
    one, data = Configuration.of({**RECIPE, "width": 4}), own.prepare()
    with pytest.raises(ExperimentError, match="n_train = 999, but the pool has 80"):
        own.train(one, [1], lambda epoch, loss: None, data)
