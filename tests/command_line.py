"""Searches by the command line, in this process and in one of their own; for the tests of cli and status."""

import subprocess
import sys

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


def shell(*arguments, **options):
    """Run a command in a process of its own."""
    command = [sys.executable, "-m", "raysearch.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)
