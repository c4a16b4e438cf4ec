import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from raysearch.errors import RunDirectoryError
from raysearch.storage.run_directory import RunDirectory


def test_a_new_search_gets_a_directory_of_its_own_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, second = RunDirectory.create(None, "demo"), RunDirectory.create(None, "demo")
    assert first.path != second.path
    assert first.path.parent == second.path.parent == tmp_path / "runs"
    assert first.path.name.startswith("demo-2")
    assert first.path.is_dir()


def test_searches_of_one_name_that_start_in_the_same_second_get_one_each(tmp_path, monkeypatch):
    """Array jobs do so, on several machines that share a folder."""
    monkeypatch.chdir(tmp_path)
    n = 16
    together = threading.Barrier(n)

    def start(_):
        together.wait()
        return RunDirectory.create(None, "demo").path

    with ThreadPoolExecutor(n) as pool:
        for _ in range(5):
            assert len(set(pool.map(start, range(n)))) == n
    assert len(list((tmp_path / "runs").iterdir())) == 5 * n


def test_a_place_where_no_directory_of_its_own_can_be_made_is_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").touch()
    with pytest.raises(RunDirectoryError, match=r"cannot make the run directory runs/demo-.*: (File exists|Not a dir)"):
        RunDirectory.create(None, "demo")


def test_a_directory_that_holds_a_journal_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "journal.jsonl").write_text('{"event": "start"}\n')
    with pytest.raises(RunDirectoryError, match=r"holds a search already.*raysearch resume .*--run-dir"):
        RunDirectory.create(tmp_path, "demo")


def test_a_search_that_never_began_leaves_its_directory_usable(tmp_path):
    (tmp_path / "journal.jsonl").touch()
    assert RunDirectory.create(tmp_path, "demo").path == tmp_path


def test_what_is_no_run_directory_is_said_to_be_none(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RunDirectoryError, match=r"is no run directory: it holds no journal.jsonl"):
            RunDirectory.open(path)


def test_a_place_where_nothing_can_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match=r"cannot make the run directory .*: Not a directory"):
        RunDirectory.create(tmp_path / "file" / "run", "demo")
    directory = RunDirectory.create(tmp_path / "run", "demo")
    with pytest.raises(RunDirectoryError, match=r"cannot write .*: No such file"):
        directory.write_text(directory.path / "none" / "x.txt", "text")


def test_files_appear_whole_and_leave_nothing_beside_them(tmp_path):
    directory = RunDirectory.create(tmp_path / "run", "demo")
    directory.write_text(directory.experiment, "old")
    before = directory.experiment.stat().st_ino
    directory.write_text(directory.experiment, "new")
    assert directory.experiment.read_text() == "new"
    assert directory.experiment.stat().st_ino != before, "written in place instead of renamed"
    assert os.listdir(directory.path) == ["experiment.yaml"]
