"""What every test shares: the modules beside it, and one Ray cluster."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

# property tests try the same examples in every run
settings.register_profile(
    "repeatable", derandomize=True, deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def _ray_ends() -> Iterator[None]:
    yield
    import ray

    ray.shutdown()


@pytest.fixture
def ray_cluster(_ray_ends: None) -> None:
    """One real Ray cluster of two slots, kept for all tests that need one, started anew after a test with its own."""
    import ray

    if ray.is_initialized():
        return
    for attempt in range(3):  # a busy machine can miss Ray's 30 s wait for its raylet
        try:
            ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            return
        except Exception:
            ray.shutdown()
            if attempt == 2:
                raise
