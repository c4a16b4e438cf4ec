"""What a Ray worker imports is small: it trains, and decides, keeps and shows nothing."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

DRIVERS_ONLY = ("race", "rules", "criteria", "tracking", "storage")

LOADED = """
import sys
import raysearch.execution.ray_trainable
print(*sorted(name for name in sys.modules if name.partition(".")[0] == "raysearch"))
"""


def test_a_worker_loads_no_racing_core_no_tracker_and_no_storage() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, timeout=120, check=True)
    loaded = done.stdout.split()
    assert "raysearch.execution.ray_trainable" in loaded
    superfluous = [name for name in loaded if name.startswith(tuple(f"raysearch.{room}" for room in DRIVERS_ONLY))]
    assert not superfluous, f"a worker loads {len(loaded)} modules of raysearch: {', '.join(loaded)}"
