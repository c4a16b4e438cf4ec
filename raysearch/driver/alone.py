"""One search at a time trains in a process: generators, environment and what Ray Tune keeps are the process's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raysearch.errors import ResourceError

_HELD = threading.RLock()  # an instance may carry a search out itself, in its own thread
_held_by = ""


@contextmanager
def alone() -> Iterator[None]:
    """Hold this process for a search; raises ResourceError while another thread's search does.

    Two at once would change each other's losses: both draw from torch's one generator, and Tune hands out the workload
    that was registered last.
    """
    global _held_by
    if not _HELD.acquire(blocking=False):
        raise ResourceError(
            f"this process carries out a search already, in the thread {_held_by!r}, and two would change each other's "
            "losses. Wait for it, or carry this one out in a process of its own: `raysearch run FILE`, or Python's "
            "multiprocessing"
        )
    _held_by = threading.current_thread().name
    try:
        yield
    finally:
        _HELD.release()
