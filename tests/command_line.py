"""Searches by the command line, in this process and in one of their own; for the tests of cli and status."""

import contextlib
import io
import os
import signal
import subprocess
import sys
from unittest import mock

import yaml
from typer.testing import CliRunner

from raysearch import cli

SEARCH = {
    "name": "tiny",
    "seed": 3,
    "workload": {"name": "synthetic", "epochs": 2},
    "space": {"level": [0.1, 0.2, 0.3], "spread": [0.01, 0.05]},
    "criterion": "q3",
    "rule": {"name": "halving", "warmup": 3},
    "race": {"confirm": 4},
    "execution": "local",
    "tracking": None,
}


def write_search(folder):
    """Write SEARCH as a file into a folder and return its path."""
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(SEARCH))
    return path


def finish(file):
    """Carry the search of a file out; returns its directory and what the command printed."""
    run_dir = file.parent / "run"
    result = call("run", file, "--run-dir", run_dir)
    assert result.exit_code == 0, result.output
    return run_dir, result.output


def call(*arguments):
    """Run a command in this process, through the same door as a shell would."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def typed(*arguments):
    """Run a command in this process as a shell runs it in one of its own: to its exit code, with both its outputs."""
    out, errors, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    words = ["raysearch", *map(str, arguments)]
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.dict(os.environ, COLUMNS="200"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code
        finally:
            signal.signal(signal.SIGTERM, before)
    return subprocess.CompletedProcess(words, code, out.getvalue(), errors.getvalue())


def command(*arguments):
    """Return the words that start a command in a process of its own."""
    return [sys.executable, "-m", "raysearch.cli", *map(str, arguments)]


def shell(*arguments, **options):
    """Run a command in a process of its own, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, **options)
