"""What a shell completes: bash itself is asked, at a terminal, and Tab is pressed."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raysearch.analysis.completion import _together, of

BIN = Path(sys.executable).parent
ROOT = Path(__file__).parents[1]
LINE = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|[\x07\r]")


class Bash:
    """An interactive bash that knows raysearch's completion, in a folder."""

    def __init__(self, start, folder, script):
        ours, theirs = pty.openpty()
        (folder / "rc").write_text(
            f"{script}\nPS1='ready> '\nbind 'set show-all-if-ambiguous on'\nbind 'set bell-style none'\n"
        )
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), "TERM": "dumb"}
        self.process = start(
            "bash",
            "--noprofile",
            "--rcfile",
            folder / "rc",
            "-i",
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.screen, self._text = ours, ""
        self.read_until("ready> ")

    def read_until(self, wanted, timeout_s=120):
        """Return what has come since the last time, once it holds what is wanted."""
        end = time.monotonic() + timeout_s
        while wanted not in self._text:
            assert time.monotonic() < end, f"waited for {wanted!r}, got {self._text!r}"
            if select.select([self.screen], [], [], 0.5)[0]:
                self._text += LINE.sub("", os.read(self.screen, 1 << 16).decode())
        found, self._text = self._text, ""
        return found

    def type(self, text, wanted):
        """Type a line with a Tab at its end, wait for what shall come, and let go of the line."""
        os.write(self.screen, f"{text}\t".encode())
        found = self.read_until(wanted)
        os.write(self.screen, b"\x15")  # kills the line
        return found


@pytest.fixture(scope="module")
def script():
    environment = {**os.environ, "_RAYSEARCH_COMPLETE": "source_bash", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([BIN / "raysearch"], env=environment, capture_output=True, text=True)
    assert "complete " in done.stdout, done.stderr
    return done.stdout


@pytest.fixture
def bash(start, tmp_path, script):
    bash = Bash(start, tmp_path, script)
    yield bash
    os.close(bash.screen)


@pytest.mark.process
def test_bash_completes_values(bash, tmp_path):
    for name in ("older-20260101-120000", "none"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    (tmp_path / "runs/older-20260101-120000/journal.jsonl").touch()
    assert bash.type("raysearch list crit", "raysearch list criteria ")
    assert bash.type("raysearch status ru", "raysearch status runs/older-20260101-120000 ")
    assert bash.type("raysearch watch ru", "raysearch watch runs/older-20260101-120000 ")
    assert bash.type("raysearch run x.yaml --set criterion=q3_", "--set criterion=q3_plus_iqr ")
    typed = "raysearch resume runs/a --set rule=halving --set workload.loss=lab"
    assert bash.type(typed, "workload.loss=label_smoothing ")
    assert bash.type("raysearch export runs/a t.csv --to c", "--to csv ")


@pytest.mark.process
def test_bash_shows_what_there_is_to_choose_from(bash):
    shown = bash.type("raysearch run x.yaml --set rule=", "top_two")
    assert "halving" in shown
    assert "rule=halving" not in shown, "bash would put it behind what stands there"
    shown = bash.type("raysearch plan x.yaml --set work", "workload=synthetic")
    assert "workload=digits" in shown


@pytest.mark.process
def test_where_nothing_is_known_bash_completes_files(bash, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/journal.jsonl").touch()
    assert bash.type("raysearch status else", "raysearch status elsewhere/")


@pytest.mark.parametrize(
    ("words", "current", "together"),
    [
        (["a", "--set", "rule", "=", "h"], 4, (["a", "--set", "rule=h"], 2)),
        (["a", "--set", "rule", "="], 3, (["a", "--set", "rule="], 2)),
        (["a", "--set", "x", "=", "1", "--set", "rule", "=", "h"], 8, (["a", "--set", "x=1", "--set", "rule=h"], 4)),
        (["a", "--set", "rule", "=", "h", "run"], 5, (["a", "--set", "rule=h", "run"], 3)),
        (["a", "list"], 2, (["a", "list"], 2)),
    ],
)
def test_words_that_bash_took_apart_are_put_together(words, current, together):
    assert _together(words, current) == together


def test_a_finished_word_stays_apart_from_the_next():
    assert _together(["a", "x", "=", "1", "=", "2"], 5) == (["a", "x=1=2"], 1)


def test_every_setting_that_is_told_names_a_plugin():
    settings = of("settings")
    assert "rule=top_two" in settings
    assert len(settings) == len(set(settings)) > 40
