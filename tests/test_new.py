"""A first file of one's own: written with comments, never over anything, and validated at once."""

import sys

import pytest
import yaml
from command_line import call, typed

import raysearch

OWN = """
import torch


def train(config, seed):
    depth = config.get("depth", 3)
    return config["width"] / 100 + depth / 10 + (seed % 7) / 1000


def build(parameters):
    return torch.nn.Sequential(torch.nn.Linear(3, parameters["width"]), torch.nn.Linear(parameters["width"], 2))


def choosy(parameters):
    return {"relu": torch.nn.ReLU}[parameters["activation"]]()


def data():
    return None


def alone(config):
    return 1.0
"""


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "own.py").write_text(OWN)
    yield
    for name in ("own", "mine", "below.mine_too"):
        sys.modules.pop(name, None)


def test_without_a_name_it_writes_an_example_that_runs(tmp_path):
    done = typed("new", "mine.yaml")
    assert done.returncode == 0, done.stderr
    assert "Written: mine.py\nWritten: mine.yaml\n" in done.stdout
    assert "configurations                  12" in done.stdout, "it shows the plan"
    comments = [line for line in (tmp_path / "mine.yaml").read_text().splitlines() if "#" in line]
    assert len(comments) > 10
    settings = ["execution=local", "tracking=null", "race.confirm=2", "space.step=[0.01, 0.1]", "space.shrink=[0.001]"]
    done = typed("run", "mine.yaml", "--run-dir", "run", *[word for one in settings for word in ("--set", one)])
    assert done.returncode == 0, done.stderr
    assert "step = 0.01" in done.stdout
    done = typed("resume", "run", "--set", "race.confirm=4")  # a file names the function: no Python is needed
    assert done.returncode == 0, done.stderr
    assert raysearch.load("run")["phase"].eq("confirmation").sum() == 4


def test_an_example_in_a_folder_below_is_imported_from_there(tmp_path):
    (tmp_path / "below").mkdir()
    assert typed("new", "below/mine-too.yaml").returncode == 0
    data = yaml.safe_load((tmp_path / "below" / "mine-too.yaml").read_text())
    assert data["workload"] == {"name": "function", "fn": "below.mine_too.train"}


def test_for_a_function_it_names_what_the_function_reads(tmp_path):
    done = typed("new", "mine.yaml", "--function", "own.train")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "mine.yaml").read_text()
    data = yaml.safe_load(text)
    assert data["workload"] == {"name": "function", "fn": "own.train"}
    assert data["space"] == {"depth": [3], "width": [1, 2]}
    assert text.count("# fill in what to try") == 2
    assert not (tmp_path / "mine.py").exists()


def test_for_a_network_it_adds_the_recipe(tmp_path):
    done = typed("new", "mine.yaml", "--module", "own.build", "--data", "own.data")
    assert done.returncode == 0, done.stderr
    data = yaml.safe_load((tmp_path / "mine.yaml").read_text())
    assert data["workload"]["module"] == "own.build"
    assert list(data["space"]) == ["width", "optimizer", "lr", "batch_size", "weight_decay"]
    assert "epochs per instance             20" in done.stdout


def test_what_is_still_to_be_filled_in_is_said(tmp_path):
    done = typed("new", "mine.yaml", "--module", "own.choosy", "--data", "own.data")
    assert done.returncode == 2
    assert "Written: mine.yaml" in done.stdout
    assert "no network of {'activation': 1" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("there", ["mine.yaml", "mine.py"])
def test_nothing_is_written_over(tmp_path, there):
    (tmp_path / there).write_text("precious")
    done = typed("new", "mine.yaml")
    assert done.returncode == 2
    assert f"{there} is there already, and nothing is written over it" in done.stderr
    assert (tmp_path / there).read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"own.py", there})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.yaml", "--function", "own.trian"], "'own.trian' cannot be imported: module 'own' has no attribute"),
        (["mine.yaml", "--function", "train"], "--function must be a function, or where to import it"),
        (["mine.yaml", "--function", "own.alone"], "own.alone takes (config): it must take two, train(config, seed)"),
        (["mine.yaml", "--module", "own.build"], "`--module` together with `--data`"),
        (["mine.yaml", "--function", "own.train", "--module", "own.build"], "name a function, `--function"),
        (["mine.txt"], "an experiment file ends in .yaml, got mine.txt"),
        (["/tmp/mine.yaml"], "/tmp/mine cannot be imported from"),
        (["nowhere/mine.yaml"], "cannot write nowhere/mine.yaml: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, words, message):
    done = typed("new", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.glob("*.yaml")] == []


def test_a_file_that_names_no_function_is_refused(tmp_path):
    (tmp_path / "wrong.yaml").write_text("workload: {name: function, fn: own.nothing}\nspace: {x: [1]}\n")
    assert "function: fn = 'own.nothing' cannot be imported" in typed("plan", "wrong.yaml").stderr
    (tmp_path / "wrong.yaml").write_text("workload: {name: function, fn: nothing}\nspace: {x: [1]}\n")
    assert "train must be a function of (config, seed), got 'nothing'" in str(call("plan", "wrong.yaml").exception)
