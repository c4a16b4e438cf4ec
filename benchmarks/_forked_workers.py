"""Ray's workers forked from one process that has imported what they import, but for Ray: a start costs half as much.

Ray starts a worker by `sys.executable`. Where that is the program that `program` writes, a worker's words, environment
and open files go to a server, which forks it; whatever else is started goes to Python itself. Ray's own library cannot
be imported before: it takes the job from the environment when it is loaded.
"""

from __future__ import annotations

import array
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

WORKER = "default_worker.py"
STRIPPED = ("--language", "--serialized-runtime-env-context")
"""What Ray's own launcher keeps from a worker."""
WRAPPER = """#!{python} -IS
import array, json, os, socket, sys
if not any(word.endswith("{worker}") for word in sys.argv):
    os.execv("{python}", ["{python}", *sys.argv[1:]])
with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
    server.connect("{path}")
    words = json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode()
    files = array.array("i", [0, 1, 2]).tobytes()
    server.sendmsg([len(words).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
    server.sendall(words)
    server.recv(1)
"""
"""Lives as long as the worker does, which ends with it."""


def program(folder: Path) -> Path:
    """Write the program that is to be `sys.executable` of whoever starts Ray; returns its path."""
    path = folder / "python-forked"
    path.write_text(WRAPPER.format(python=sys.executable, worker=WORKER, path=folder / "workers"))
    path.chmod(0o755)
    return path


def preload(module: str) -> None:
    """Import all that a module imports but what is of Ray, or imports it."""
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    sys.modules["ray"] = None  # type: ignore[assignment] - whoever asks for it is told that there is none
    for name in loaded:
        if name.partition(".")[0] not in ("ray", "raysearch"):
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
    del sys.modules["ray"]


def serve(folder: Path, module: str) -> None:
    """Import, say that it is done, and fork workers until standard input ends."""
    preload(module)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(str(folder / "workers"))
    server.listen()
    gc.freeze()  # or each worker's first collection copies all pages
    print("ready", flush=True)
    while sys.stdin not in select.select([server, sys.stdin], [], [])[0]:
        connection, _ = server.accept()
        if not os.fork():
            server.close()
            _work(connection)
        connection.close()


def _work(connection: socket.socket) -> None:
    """Be a worker, in a fork of the server."""
    try:
        words, environment, folder = _received(connection)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        at = next(n for n, word in enumerate(words) if word.endswith(WORKER))
        sys.argv = [word for word in words[at:] if not word.startswith(STRIPPED)]
        threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)


def _received(connection: socket.socket) -> Any:
    files = array.array("i")
    size, messages, *_ = connection.recvmsg(8, socket.CMSG_LEN(3 * files.itemsize))
    files.frombytes(messages[0][2])
    for target, source in enumerate(files):
        os.dup2(source, target)
        os.close(source)
    left, text = int.from_bytes(size, "big"), b""
    while len(text) < left:
        text += connection.recv(left - len(text))
    return json.loads(text)


def _end_with(connection: socket.socket) -> None:
    """End this worker with the program that Ray takes for it."""
    connection.recv(1)
    os._exit(1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]), sys.argv[2])
