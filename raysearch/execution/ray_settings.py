"""What Tune is told by environment variables, for many short trials."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

LEAN_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a CSV, a JSON and a TensorBoard file per trial otherwise
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",  # the journal is the truth; Tune's snapshot grows by 8 kB per trial
    "TUNE_FORCE_TRIAL_CLEANUP_S": "10",  # a worker that does not hear that it should end would keep its slot for 600 s
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # it would end the Tuner as if the race were over
}
"""Environment variables that Tune reads, for many short trials;"""
MAX_PENDING = "TUNE_MAX_PENDING_TRIALS_PG"
"""and the one that says how many trials may wait for a worker."""


@contextmanager
def lean_settings(n_slots: int) -> Iterator[None]:
    """Set Tune's environment for many short trials, and put back what was there."""
    wanted = {**LEAN_SETTINGS, MAX_PENDING: str(n_slots + 2)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
