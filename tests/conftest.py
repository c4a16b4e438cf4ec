"""What every test shares: the modules beside it, and one Ray cluster."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One real Ray cluster of two slots for all tests that need one."""
    import ray

    for attempt in range(3):  # a busy machine can miss Ray's 30 s wait for its raylet
        try:
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            break
        except Exception:
            ray.shutdown()
            if attempt == 2:
                raise
    yield
    ray.shutdown()
