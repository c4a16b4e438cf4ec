"""How a command ends for who typed it: signals, exit codes, and the one line that a mistake ends in."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from raysearch.errors import RaysearchError, StoppedError

_INTERRUPTED, _TERMINATED, _STOPPED = 130, 143, 3
"""Exit codes: what Typer makes of Ctrl-C, what a shell says of a process that SIGTERM ended, and `raysearch stop`."""
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_SEARCHING = {"run", "resume", "demo"}
_terminated: list[int] = []
run_dirs: list[Path] = []
"""Where the search of this process is kept, once it is known."""


def carry_out(command: Callable[[], object]) -> None:
    """Call a command line; a user's mistake ends in one clear line and exit code 2.

    What experiment files name is looked for in the working directory too, behind all else.
    """
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        command()
    except StoppedError as error:
        print(f"raysearch: {error}.", file=sys.stderr)
        sys.exit(_STOPPED)
    except RaysearchError as error:
        print(f"raysearch: error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno not in _DISK_ERRORS:
            raise
        print(f"raysearch: error: {error}.{_how_to_go_on()}", file=sys.stderr)
        sys.exit(2)
    except SystemExit as end:
        if _terminated or end.code == signal.SIGTERM:  # the second: a handler of Ray's, while it starts
            print(f"raysearch: terminated.{_how_to_go_on()}", file=sys.stderr)
            sys.exit(_TERMINATED)
        if end.code == _INTERRUPTED and _searches():
            print(f"raysearch: interrupted.{_how_to_go_on()}", file=sys.stderr)
        raise


def _terminate(number: int, frame: object) -> None:
    """End as by Ctrl-C: a SystemExit would lose its code on its way through Ray."""
    _terminated.append(number)
    raise KeyboardInterrupt


def _how_to_go_on() -> str:
    if not _searches():  # status, report and the like have nothing to lose
        return ""
    return f" Nothing is lost: `raysearch resume {run_dirs[-1]}` goes on" if run_dirs else " No search had begun"


def _searches() -> bool:
    return bool(_SEARCHING & set(sys.argv[1:2]))
