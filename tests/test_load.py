"""`raysearch.load`: the table of a search is that of its journal, whatever the files' times say."""

import importlib
import os
import shutil

import pandas as pd
import pytest
from command_line import call, finish, write_search

import raysearch


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return finish(write_search(tmp_path_factory.mktemp("search")))[0]


@pytest.fixture
def run_dir(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


@pytest.mark.parametrize("later_s", [-3600, 0, 3600])
def test_a_table_of_another_moment_is_not_taken_for_that_of_the_journal(run_dir, later_s):
    """Copies, clocks of several machines and coarse file times make an old table look new."""
    table, journal = run_dir / "instances.parquet", run_dir / "journal.jsonl"
    old = table.read_bytes()
    assert call("resume", run_dir, "--set", "race.confirm=6").exit_code == 0
    new = raysearch.load(run_dir)
    assert len(new) == 27
    table.write_bytes(old)
    at = journal.stat().st_mtime + later_s
    os.utime(table, (at, at))
    pd.testing.assert_frame_equal(raysearch.load(run_dir)[["seed", "loss", "phase"]], new[["seed", "loss", "phase"]])


def test_a_table_that_is_of_the_journal_is_read_however_old_it_looks(run_dir, monkeypatch):
    whole = raysearch.load(run_dir)
    monkeypatch.setattr(importlib.import_module("raysearch.driver.run"), "to_frame", None)
    os.utime(run_dir / "instances.parquet", (0, 0))
    assert raysearch.load(run_dir).equals(whole)


@pytest.mark.parametrize("damage", [b"", b"PAR1", b"no table"])
def test_a_damaged_table_is_passed_over(run_dir, damage):
    whole = raysearch.load(run_dir)
    (run_dir / "instances.parquet").write_bytes(damage)
    assert raysearch.load(run_dir).loss.tolist() == whole.loss.tolist()


def test_a_search_that_never_began_has_an_empty_table(tmp_path):
    (tmp_path / "journal.jsonl").touch()
    assert len(raysearch.load(tmp_path)) == 0
