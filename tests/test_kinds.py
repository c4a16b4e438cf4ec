"""The suite's own rules, on suites that break them: one kind for every test, no process that outlives its test."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.process


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """An empty suite under the rules of this one."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p kinds -p left_behind --strict-markers")
    return pytester


TOLD = """
import sqlite3, subprocess, sys, time
import pytest

@pytest.mark.ray
def test_marked():
    time.sleep(0.2)

@pytest.fixture
def make_store():
    time.sleep(0.3)

def test_of_its_fixture(make_store):
    sqlite3.connect(":memory:").close()

def test_of_nothing():
    pass

@pytest.mark.skip
def test_left_out():
    pass

def test_that_needs_more_than_it_says():
    subprocess.run([sys.executable, "-c", ""])

@pytest.mark.process
def test_that_needs_a_database():
    sqlite3.connect(":memory:").close()
"""


def test_every_test_has_a_kind_that_is_told_and_held_to(suite: pytest.Pytester) -> None:
    suite.makepyfile(TOLD)
    result = suite.runpytest_subprocess()
    result.assert_outcomes(passed=3, failed=2, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "E * a pure test that needs processes of its own: mark it `pytest.mark.process`",
            "E * a process test that needs an MLflow store, in a file or behind a server: mark it `pytest.mark.mlflow`",
        ]
    )
    rows = {line.split()[0]: line.split()[1:] for line in result.outlines if line.startswith(("pure", "mlf", "ray"))}
    assert {kind: (int(run), int(skipped)) for kind, (run, skipped, _) in rows.items()} == {
        "pure": (2, 1),
        "mlflow": (1, 0),
        "ray": (1, 0),
    }
    assert float(rows["mlflow"][2]) >= 0.3, "setup counts"
    assert float(rows["ray"][2]) >= 0.2
    chosen = suite.runpytest_subprocess("-m", "mlflow")
    chosen.assert_outcomes(passed=1, deselected=5)


def test_kinds_run_from_the_cheapest_to_the_dearest(suite: pytest.Pytester) -> None:
    suite.makepyfile(TOLD)
    told = suite.runpytest_subprocess("--collect-only", "-q").outlines
    names = [line.partition("::")[2] for line in told if "::" in line]
    assert names[0] == "test_of_nothing"
    assert names[-3:] == ["test_that_needs_a_database", "test_of_its_fixture", "test_marked"]


@pytest.mark.parametrize(
    ("marks", "arguments", "message"),
    [
        (["ray", "mlflow"], "", "*::test_it is marked mlflow and ray: a test has one kind"),
        (["pure"], "ray_cluster", "*::test_it is marked pure, its fixtures or its folder make it ray"),
    ],
    ids=["two", "against the facts"],
)
def test_no_test_has_two_kinds(suite: pytest.Pytester, marks: list[str], arguments: str, message: str) -> None:
    marked = "\n".join(f"@pytest.mark.{mark}" for mark in marks)
    fixture = "@pytest.fixture\ndef ray_cluster(): ..."
    suite.makepyfile(f"import pytest\n{fixture}\n{marked}\ndef test_it({arguments}): ...")
    result = suite.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {message}"])


LEAVES = """
import os, subprocess, sys
import pytest
import left_behind

left_behind.PATIENCE_S = 0.5
pytestmark = pytest.mark.process
SLEEPS = [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"]

def sleeping(command=SLEEPS):
    process = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    return process

def end(process):
    process.kill()
    process.communicate()

@pytest.fixture(scope="module")
def shared():
    process = sleeping()
    yield process
    end(process)

def test_uses_what_is_shared(shared):
    pass

def test_ends_what_it_starts(shared):
    end(sleeping())

def test_leaves_a_child():
    globals()["left"] = sleeping()

def test_comes_after():
    assert left.wait() == -9, "killed for the test that left it"
    left.stdout.close()

@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_leaves_an_orphan():
    code = "import subprocess, sys; subprocess.Popen(sys.argv[1:], start_new_session=True, stdout=subprocess.DEVNULL)"
    subprocess.run([sys.executable, "-c", code, *SLEEPS, "orphan"], check=True)

def test_last(shared):
    assert shared.poll() is None, "what is shared lives on"
"""


def test_a_process_that_outlives_its_test_is_named_and_killed(suite: pytest.Pytester) -> None:
    suite.makepyfile(test_leaving=LEAVES)
    result = suite.runpytest_subprocess("-W", "error")
    result.assert_outcomes(passed=6, errors=2)
    result.stdout.fnmatch_lines_random(
        [
            "test_leaving.py::test_leaves_a_child left processes behind, killed now:",
            "test_leaving.py::test_leaves_an_orphan left processes behind, killed now:",
            "  *: * time.sleep(600) orphan",
        ]
    )
