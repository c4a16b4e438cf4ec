"""Plug-ins of installed packages: found by their entry points, used like those that come along."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest
import yaml
from command_line import SEARCH, shell

import raysearch
from raysearch import registry
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.experiment.experiment import from_data, from_file
from raysearch.experiment.schema import describe_room, json_schema
from raysearch.experiment.sections import section_of

pytestmark = pytest.mark.process

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "tiny-plugins"
version = "1.2"

[project.entry-points."raysearch.criteria"]
midrange = "tiny_plugins:Midrange"

[project.entry-points."raysearch.workloads"]
parabola = "tiny_plugins:Parabola"

[tool.setuptools]
py-modules = ["tiny_plugins"]
"""
MODULE = '''
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from raysearch.errors import ExperimentError
from raysearch.records import InstanceKey, InstanceResult


@dataclass(frozen=True)
class Midrange:
    """The middle between the best and the worst loss.

    Not a good criterion.
    """

    weight: Annotated[float, Interval(ge=0, le=1)] = 0.5

    def __call__(self, losses):
        return (1 - self.weight) * np.nanmin(losses, axis=-1) + self.weight * np.nanmax(losses, axis=-1)


@dataclass(frozen=True)
class Parabola:
    """Losses (x - best)^2 and a little noise."""

    best: float = 0.0
    epochs: Annotated[int, Ge(1)] = 1

    def prepare(self):
        return None

    def check(self, parameters):
        if list(parameters) != ["x"]:
            raise ExperimentError("parabola has the parameter x")

    def train(self, configuration, seeds, report, data=None):
        losses = {seed: (configuration.parameters["x"] - self.best) ** 2 + 1e-3 * (seed % 7) for seed in seeds}
        return [InstanceResult.of(InstanceKey(configuration.id, seed), loss) for seed, loss in losses.items()]
'''
OURS = {
    **SEARCH,
    "workload": {"name": "parabola", "best": 2.0},
    "space": {"x": [0.0, 1.0, 2.0, 3.0]},
    "criterion": {"name": "midrange", "weight": 0.25},
}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """A folder into which pip has installed the tiny package."""
    source, target = tmp_path_factory.mktemp("tiny"), tmp_path_factory.mktemp("packages")
    (source / "pyproject.toml").write_text(PROJECT)
    (source / "tiny_plugins.py").write_text(MODULE)
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--target", target, source]
    subprocess.run([sys.executable, "-m", "pip", *map(str, install)], check=True, timeout=120)
    return target


def brought(folder, monkeypatch, package, **groups):
    """Put a package into sys.path that consists of entry points and nothing else."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    text = "".join(f"[raysearch.{room}]\n{line}\n" for room, line in groups.items())
    (info / "entry_points.txt").write_text(text)
    monkeypatch.syspath_prepend(folder)


ON_RAY = pytest.param({"name": "ray_tune", "local_cpus": 2}, marks=pytest.mark.long)


@pytest.mark.parametrize("execution", ["local", ON_RAY], ids=["local", "ray"])
def test_a_search_runs_with_the_criterion_and_the_workload_of_an_installed_package(packages, tmp_path, execution):
    file, run_dir = tmp_path / "e.yaml", tmp_path / "run"
    file.write_text(yaml.safe_dump({**OURS, "execution": execution}))
    known = {**os.environ, "PYTHONPATH": os.pathsep.join([str(packages), os.environ.get("PYTHONPATH", "")])}
    done = shell("run", file, "--run-dir", run_dir, env=known)
    assert done.returncode == 0, done.stderr
    experiment = json.loads((run_dir / "journal.jsonl").read_text().splitlines()[0])["experiment"]
    assert (experiment["criterion"], experiment["workload"]) == (OURS["criterion"], OURS["workload"])
    table = raysearch.load(run_dir)
    assert set(table.loc[table["phase"] == "confirmation", "p.x"]) == {2.0}
    assert set(table["status"]) == {"COMPLETE"}


def test_without_the_package_a_search_says_what_it_lacks(packages, tmp_path, monkeypatch):
    file = tmp_path / "e.yaml"
    file.write_text(yaml.safe_dump(OURS))
    with pytest.raises(
        UnknownNameError, match=r"workload: unknown name in workloads 'parabola'.* Known: calorimeter, "
    ):
        from_file(file).load("workload")
    monkeypatch.syspath_prepend(packages)
    assert from_file(file).load("workload").best == 2.0


def test_it_is_listed_described_and_checked_like_those_that_come_along(packages, monkeypatch):
    monkeypatch.syspath_prepend(packages)
    (row,) = [row for row in describe_room("criteria") if row[0] == "midrange"]
    said = "The middle between the best and the worst loss. (the package tiny-plugins 1.2)"
    assert row == ("midrange", "(weight=0.5)", said)
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.validate(OURS)
    assert not validator.is_valid({**OURS, "criterion": {"name": "midrange", "weight": 2}})
    assert from_data(OURS).load("criterion")([1.0, 5.0]) == 2.0
    with pytest.raises(ExperimentError, match=r"criterion: midrange \(in criteria\): weight must be at most 1, got 2"):
        from_data({**OURS, "criterion": {"name": "midrange", "weight": 2}}).load("criterion")
    with pytest.raises(UnknownNameError, match=r"parameter of midrange \(in criteria\) 'wight'. Did you mean 'weight'"):
        from_data({**OURS, "criterion": {"name": "midrange", "wight": 2}}).load("criterion")
    made = registry.load("criteria", "midrange", weight=0.1)
    assert section_of(made, "criterion") == {"name": "midrange", "weight": 0.1}
    with pytest.raises(ExperimentError, match="is a plug-in of criteria, not of workloads"):
        section_of(made, "workload")


def test_a_name_that_two_packages_claim_is_an_error_that_names_both(tmp_path, monkeypatch):
    brought(tmp_path / "one", monkeypatch, "clashing", criteria="q3 = nowhere:Q3", rules="coin = nowhere:Coin")
    brought(tmp_path / "two", monkeypatch, "other", rules="coin = elsewhere:Coin")
    both = r"'q3' in criteria is the name of two plug-ins, of raysearch itself and of the package clashing 1.0: uninst"
    with pytest.raises(ExperimentError, match=both):
        registry.load("criteria", "q3")
    with pytest.raises(ExperimentError, match=r"'coin' in rules .* the package \w+ 1.0 and of the package \w+ 1.0: "):
        registry.load("rules", "coin")
    assert registry.load("criteria", "median") is not None
    assert ("q3", "") in [row[:2] for row in describe_room("criteria")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            None,
            r"broken \(in rules\), which the package half 1.0 brings, cannot be imported: ModuleNotFoundError: No m",
        ),
        ("import no_such_package", r"cannot be imported: ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 / 0", r"the package half 1.0 brings, cannot be imported: ZeroDivisionError: division by zero"),
        ("class Other: ...", r"cannot be imported: AttributeError: .*no attribute 'Broken'"),
        ("class Broken: ...", r"is no frozen dataclass, but <class 'half_module.Broken'>"),
        ("from dataclasses import dataclass\n@dataclass\nclass Broken: ...", "is no frozen dataclass"),
        (
            "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Broken:\n    n: 'Unknown' = 1",
            r"broken \(in rules\): Broken: its annotations cannot be read: name 'Unknown' is not defined",
        ),
    ],
)
def test_a_package_that_cannot_be_imported_harms_only_those_who_ask_for_it(tmp_path, monkeypatch, text, message):
    brought(tmp_path, monkeypatch, "half", rules="broken = half_module:Broken")
    monkeypatch.delitem(sys.modules, "half_module", raising=False)
    if text is not None:
        (tmp_path / "half_module.py").write_text(text)
    with pytest.raises(ExperimentError, match=message):
        registry.load("rules", "broken")
    assert registry.load("rules", "halving").warmup == 5
    assert section_of(registry.load("rules", "halving")) == {"name": "halving", "warmup": 5}
    jsonschema.Draft202012Validator(json_schema()).validate(SEARCH)
    with pytest.raises(ExperimentError, match="Did you mean 'halving'"):
        from_data({**SEARCH, "rule": "halfing"}).load("rule")
    assert "broken" in [name for name, *_ in describe_room("rules")]
    monkeypatch.delitem(sys.modules, "half_module", raising=False)
