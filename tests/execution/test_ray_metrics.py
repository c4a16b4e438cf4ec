"""The gauges of a race, exported by a real Ray; that Prometheus gets them is tested with the dashboard."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ray

from raysearch.execution import ray_metrics
from raysearch.execution.ray_metrics import GAUGES, Gauges
from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase, Progress

pytestmark = pytest.mark.ray

CONFIGURATION = Configuration.of({"x": 1})


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.shutdown()  # of the cluster that other tests share; the next one that needs it starts it anew
    ray.init("local", num_cpus=3, num_gpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture
def exported(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], float]:
    """Collect what is handed to Ray, which still gets it."""
    values: dict[tuple[str, str], float] = {}
    original = ray_metrics.Gauge.set

    def listen(gauge: Any, value: float, tags: dict[str, str]) -> None:
        values[gauge.info["name"], tags.get("status", "")] = value
        assert tags["search"] == "demo"
        original(gauge, value, tags)

    monkeypatch.setattr(ray_metrics.Gauge, "set", listen)
    return values


def progress(**fields: Any) -> Progress:
    known: dict[str, Any] = {
        "round": 2,
        "n_configurations": 8,
        "n_survivors": 4,
        "n_finished": 10,
        "n_running": 1,
        "n_expected": 20,
        "incumbent_value": 0.5,
        "n_diverged": 2,
        "n_failed": 1,
        "n_stopped": 3,
        "elapsed_s": 30.0,
    }
    return Progress(**(known | fields))


def opened(**settings: Any) -> Gauges:
    gauges = Gauges(**settings)
    gauges.open({"name": "demo"}, Path("runs/demo"))
    return gauges


def test_every_gauge_has_its_value(exported: dict[tuple[str, str], float]) -> None:
    gauges = opened(backlog=lambda: 7)
    for seed in range(5):
        gauges.told(CONFIGURATION, InstanceResult.of(InstanceKey(CONFIGURATION.id, seed), 1.0), Phase.RACE)
    gauges.progress(progress())
    by_status = {status: value for (name, status), value in exported.items() if name == "raysearch_instances"}
    assert by_status == {"COMPLETE": 7, "DIVERGED": 2, "FAILED": 1, "STOPPED": 3, "RUNNING": 1}
    single = {name: value for (name, status), value in exported.items() if not status}
    assert single == {
        "raysearch_survivors": 4,
        "raysearch_round": 2,
        "raysearch_incumbent_criterion": 0.5,
        "raysearch_instances_per_minute": 10.0,  # five in half a minute
        "raysearch_idle_slots": 2,
        "raysearch_tracker_backlog": 7,
    }
    assert {name for name, _ in exported} == set(GAUGES)


@pytest.mark.parametrize(
    ("cpus", "gpus", "slots"), [(1.0, 0.0, 3), (0.5, 0.0, 6), (0.5, 0.25, 4), (2.0, 0.0, 1), (0.0, 0.5, 2)]
)
def test_idle_slots_count_what_fits(
    cpus: float, gpus: float, slots: int, exported: dict[tuple[str, str], float]
) -> None:
    opened(cpus=cpus, gpus=gpus).progress(progress(n_running=0))
    assert exported["raysearch_idle_slots", ""] == slots


def test_more_running_than_slots_is_no_negative_number(exported: dict[tuple[str, str], float]) -> None:
    opened().progress(progress(n_running=9))  # some of them wait for a slot
    assert exported["raysearch_idle_slots", ""] == 0


def test_an_unknown_incumbent_is_not_exported(exported: dict[tuple[str, str], float]) -> None:
    opened().progress(progress(incumbent_value=math.inf))
    assert ("raysearch_incumbent_criterion", "") not in exported


def test_many_calls_cost_one_export_a_second_and_the_last_one_counts(exported: dict[tuple[str, str], float]) -> None:
    gauges = opened()
    for n in range(100):
        gauges.progress(progress(n_survivors=100 - n))
    assert exported["raysearch_survivors", ""] == 100
    gauges.close()
    assert exported["raysearch_survivors", ""] == 1


def test_without_ray_nothing_happens(monkeypatch: pytest.MonkeyPatch, exported: dict[tuple[str, str], float]) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    opened().progress(progress())
    assert exported == {}
