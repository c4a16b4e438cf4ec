"""The package as users get it: what a wheel and an sdist hold, and that they work in a fresh environment."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "raysearch", "search_spaces", "tests", "benchmarks")
BUILD = "import sys; from setuptools import build_meta; getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2])"

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The wheel and the sdist of this checkout, built in a copy of it."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    source.mkdir()
    leave_out = shutil.ignore_patterns("__pycache__", "data", "*.egg-info")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, symlinks=True, ignore=leave_out)
        else:
            shutil.copy(ROOT / part, source / part)
    return make("wheel", source, folder), make("sdist", source, folder)


def make(kind, source, folder):
    done = subprocess.run([sys.executable, "-c", BUILD, kind, folder], cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    [made] = folder.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return made


def held(wheel):
    with zipfile.ZipFile(wheel) as opened:
        return [name for name in opened.namelist() if ".dist-info/" not in name]


def test_a_wheel_holds_the_package_whole_and_nothing_beside_it(built):
    names = held(built[0])
    assert {name.partition("/")[0] for name in names} == {"raysearch"}
    assert not [name for name in names if re.search("test|benchmark|baseline|xgboost", name)]
    files = [path.relative_to(ROOT) for path in (ROOT / "raysearch").rglob("*") if path.is_file()]
    assert sorted(names) == sorted(str(path) for path in files if "__pycache__" not in path.parts)
    assert {Path(name).suffix for name in names} == {".py", ".typed", ".j2", ".yaml"}


def test_the_demos_search_space_is_in_the_package_once(built):
    assert [name for name in held(built[0]) if name.endswith(".yaml")] == ["raysearch/experiment/demo.yaml"]
    shown = ROOT / "search_spaces" / "demo.yaml"
    assert shown.resolve() == ROOT / "raysearch" / "experiment" / "demo.yaml", "two copies would differ some day"


def test_an_sdist_holds_what_the_wheel_is_built_of(built):
    wheel, sdist = built
    with tarfile.open(sdist) as opened:
        names = [name.partition("/")[2] for name in opened.getnames() if not opened.getmember(name).isdir()]
    assert set(held(wheel)) <= set(names)
    assert not [name for name in names if re.search("^(tests|benchmarks|docs)/", name)]
    assert {"README.md", "LICENSE", "pyproject.toml"} <= set(names)


def test_an_sdist_makes_the_same_wheel(built, tmp_path):
    wheel, sdist = built
    with tarfile.open(sdist) as opened:
        opened.extractall(tmp_path, filter="data")
    [source] = tmp_path.iterdir()
    again = make("wheel", source, tmp_path)
    assert held(again) == held(wheel)


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory):
    """A call of the installed command, in a folder away from the checkout; what it needs is this environment's."""
    folder = tmp_path_factory.mktemp("fresh")
    venv, away = folder / "venv", folder / "away"
    away.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    [site] = venv.glob("lib/python*/site-packages")
    (site / "needs.pth").write_text(sysconfig.get_path("purelib") + "\n")  # whose own .pth files are not read
    install = [sys.executable, "-m", "pip", "--python", venv, "install", "--quiet", "--no-deps", "--no-index", built[0]]
    done = subprocess.run(install, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}

    def call(command, *words, **more):
        line = [str(venv / "bin" / command), *map(str, words)]
        return subprocess.run(line, cwd=away, env=kept | more, capture_output=True, text=True)

    place = call("python", "-c", "import raysearch; print(raysearch.__file__)").stdout
    assert Path(place.strip()).is_relative_to(venv)
    return call


def test_the_main_job_runs_without_a_checkout(installed, tmp_path):
    settings = [f"workload.{n}=200" for n in ("n_train", "n_validation", "n_test")]
    settings += ["space.fc=[[9]]", "space.lr=[0.01]", "workload.epochs=1", "race.confirm=2"]
    settings += ["execution=local", "tracking=null"]
    words = [word for one in settings for word in ("--set", one)]
    done = installed("raysearch", "demo", "--run-dir", tmp_path / "run", *words)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Experiment file: .*/site-packages/raysearch/experiment/demo\.yaml$", done.stdout, re.MULTILINE)
    assert "for 4 configurations" in done.stdout
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000, "with its templates"


def test_a_shell_completes_commands_and_options(installed):
    def completed(words):
        asked = {"_RAYSEARCH_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
        return installed("raysearch", **asked).stdout.split()

    assert sorted(completed("raysearch re")) == ["report", "resume"]
    assert "--retry-failed" in completed("raysearch resume --")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_what_it_declares_is_all_that_it_needs(built, tmp_path):
    """From the sdist, with its needs from the index that pip uses: some gigabytes."""
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pinned = ROOT / "constraints.txt"
    torch = re.search("^torch==.*$", pinned.read_text(), re.MULTILINE)[0]  # first, as in the Makefile
    for packages in ([torch], [built[1]]):
        install = [venv / "bin" / "python", "-m", "pip", "install", "--quiet", "--constraint", pinned, *packages]
        done = subprocess.run(install, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    command = [venv / "bin" / "raysearch", "demo", "--run-dir", tmp_path / "run", "--set", "race.confirm=2"]
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "MLFLOW_TRACKING_URI")}
    done = subprocess.run(command, cwd=tmp_path, env=kept, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "for 16 configurations" in done.stdout
    installed = subprocess.run([venv / "bin" / "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not re.search("^(pytest|xgboost|hypothesis|ipykernel|optuna-dashboard|mypy) ", installed, re.MULTILINE)
