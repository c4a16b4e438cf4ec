"""What a shell is told when somebody presses Tab: names of plug-ins, settings with their values, run directories.

Where nothing is told, shells complete names of files.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
from collections.abc import Callable, MutableMapping
from pathlib import Path

from raysearch import registry
from raysearch.storage.run_directory import JOURNAL

_RUNS = Path("runs")
TARGETS = ("optuna", "csv", "parquet")
_SETTINGS = {
    "criterion": "criteria",
    "rule": "rules",
    "sampler": "samplers",
    "workload": "workloads",
    "workload.loss": "losses",
    "execution": "execution",
    "tracking": "tracking",
}
"""Settings whose value is the name of a plug-in, and the room of that."""


def of(what: str) -> list[str]:
    """Return the texts that may stand for `rooms`, `settings`, `targets` or `run_dirs`, the newest search first."""
    if what == "rooms":
        return ["runs", *registry.ROOMS]
    if what == "settings":
        return [f"{key}={name}" for key, room in _SETTINGS.items() for name in registry.names(room)]
    return list(TARGETS) if what == "targets" else _run_dirs()


def _run_dirs() -> list[str]:
    return [str(journal.parent) for journal in sorted(_RUNS.glob(f"*/{JOURNAL}"), key=lambda one: -one.stat().st_mtime)]


def answer(command: Callable[[], object], shell: MutableMapping[str, str] = os.environ) -> None:
    """Call a command line that a shell asks for completions.

    Bash takes `--set criterion=q` for four words and completes the last: they are put together for the command, and of
    what it answers bash gets what comes behind the last `=`.
    """
    if "COMP_WORDS" not in shell:
        command()
        return
    words, current = _together(shlex.split(shell["COMP_WORDS"]), int(shell["COMP_CWORD"]))
    shell["COMP_WORDS"], shell["COMP_CWORD"] = shlex.join(words), str(current)
    known = words[current].rpartition("=")[1:2] if current < len(words) else ()
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            command()
    finally:
        for line in said.getvalue().splitlines():
            print(line.rpartition("=")[2] if "=" in known else line)


def _together(words: list[str], current: int) -> tuple[list[str], int]:
    """Return words with what bash took apart at each `=` put together, and where the current one is."""
    found: list[str] = []
    at = current
    for i, word in enumerate(words):
        follows = i > 0 and (word == "=" or words[i - 1] == "=")
        if follows and found and not found[-1].startswith("-"):
            found[-1] += word
        else:
            found.append(word)
        if i == current:
            at = len(found) - 1
    return found, at if current < len(words) else len(found)
