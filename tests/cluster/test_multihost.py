"""A race across hosts with addresses of their own: network namespaces on one bridge, joined by Ray as machines are."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from real_processes import Daemons, need
from waiting import wait_for

import raysearch
from raysearch.storage.journal import read

EXPERIMENT = {
    "name": "multihost",
    "seed": 7,
    "workload": {"name": "synthetic", "epochs": 4, "seconds": 1.5},
    "space": {"level": [0.2, 0.22, 0.25, 0.3], "spread": [0.005, 0.01, 0.02, 0.05]},
    "criterion": "median",
    "rule": {"name": "halving", "warmup": 8},
    "race": {"confirm": 6},
    "execution": {"name": "ray_tune", "cpus": 0.5, "gpus": 0.5},
    "tracking": None,
}
# A dead host is noticed after period x threshold instead of the default's half a minute.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


class Hosts:
    """Namespaces head, one, two ... with the addresses 10.213.0.1, .2, .3 ... on a bridge in the head's namespace."""

    def __init__(self) -> None:
        self.mark = f"rs{os.getpid() % 10000}"
        self.names: list[str] = []

    def add(self, name: str) -> str:
        """Make a host and return its address."""
        namespace = f"{self.mark}-{name}"
        _ip("netns", "add", namespace)
        self.names.append(name)
        address = f"10.213.0.{len(self.names)}"
        _ip("-n", namespace, "link", "set", "lo", "up")
        if name == "head":
            _ip("-n", namespace, "link", "add", "uplink", "type", "bridge")
        else:
            peer = ["netns", f"{self.mark}-head"]
            _ip("-n", namespace, "link", "add", "uplink", "type", "veth", "peer", "name", f"to-{name}", *peer)
            _ip("-n", f"{self.mark}-head", "link", "set", f"to-{name}", "master", "uplink", "up")
        _ip("-n", namespace, "address", "add", f"{address}/24", "dev", "uplink")
        _ip("-n", namespace, "link", "set", "uplink", "up")
        # Ray asks which address leads outside; nothing is there
        _ip("-n", namespace, "route", "add", "default", "via", "10.213.0.254")
        return address

    def cut(self, name: str) -> None:
        """Pull the host's cable."""
        _ip("-n", f"{self.mark}-head", "link", "set", f"to-{name}", "down")

    def on(self, name: str) -> list[str]:
        """Return what to put before a command that shall run on a host, under a host name of its own."""
        inside = f'hostname {name} && exec "$@"'
        return ["ip", "netns", "exec", f"{self.mark}-{name}", "unshare", "--uts", "sh", "-c", inside, "sh"]

    def remove(self) -> None:
        """Remove all hosts."""
        for name in self.names:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "delete", f"{self.mark}-{name}")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    need("ip", "unshare", package="iproute2")
    hosts = Hosts()
    try:
        hosts.add("head")
        subprocess.run([*hosts.on("head"), "true"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        hosts.remove()
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    yield hosts
    hosts.remove()


@pytest.fixture
def daemons() -> Iterator[Daemons]:
    daemons = Daemons()
    daemons.environment |= HEALTH
    yield daemons
    daemons.stop()


def join(hosts: Hosts, daemons: Daemons, name: str) -> None:
    """Add a host with one GPU and let it join the cluster by the head's address."""
    address = hosts.add(name)
    here = ["--address", "10.213.0.1:6379", "--node-ip-address", address]
    small = ["--num-cpus", 1, "--num-gpus", 1, "--object-store-memory", 100_000_000]
    daemons.start_ray(name, *here, *small, prefix=hosts.on(name))


@pytest.mark.timeout(420)
def test_a_race_survives_a_cut_link_and_uses_a_host_that_joins_later(
    hosts: Hosts, daemons: Daemons, tmp_path: Path
) -> None:
    head = ["--head", "--node-ip-address", "10.213.0.1", "--port", 6379, "--include-dashboard", "false"]
    small = ["--num-cpus", 0, "--num-gpus", 0, "--object-store-memory", 100_000_000]
    daemons.start_ray("head", *head, *small, prefix=hosts.on("head"))
    wait_for("Ray's head", lambda: "Ray runtime started" in daemons.log("head"), 60)
    for name in ("one", "two"):
        join(hosts, daemons, name)
    for name in ("one", "two"):
        wait_for(f"host {name}", lambda name=name: "Ray runtime started" in daemons.log(name), 60)

    (tmp_path / "experiment.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    run_dir = tmp_path / "run"
    search = ["raysearch", "run", tmp_path / "experiment.yaml", "--run-dir", run_dir, "--address", "10.213.0.1:6379"]
    driver = daemons.start("driver", [*hosts.on("head"), *search], cwd=tmp_path)

    def nodes() -> list[str]:
        if driver.poll() not in (None, 0):
            pytest.fail(f"the driver ended:\n{daemons.log('driver')}")
        return [event["node"] for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]

    wait_for("instances on both hosts", lambda: len(nodes()) >= 8 and {"one", "two"} <= set(nodes()), 120, 0.2)
    hosts.cut("two")
    n_at_cut = len(nodes())
    join(hosts, daemons, "three")
    try:
        wait_for("the host that joined to train", lambda: "three" in nodes(), 150, 0.2)
    except TimeoutError as error:
        pytest.fail(f"{error}\n{nodes()}\n{daemons.log('three')}\n{daemons.log('driver')}")
    assert driver.wait(240) == 0, daemons.log("driver")

    events = list(read(run_dir / "journal.jsonl"))
    failures = [event for event in events if event["event"] in ("failure", "lost")]
    assert failures, "the cut came when nothing ran on the host: it proves nothing"
    last_on_two = max(n for n, node in enumerate(nodes()) if node == "two")
    assert last_on_two < n_at_cut + 2  # what was already on its way home
    _assert_undisturbed(tmp_path, run_dir)


def _assert_undisturbed(tmp_path: Path, run_dir: Path) -> None:
    """The search is what it is in one process without hosts, links and cuts."""
    from raysearch.driver import run
    from raysearch.experiment.experiment import from_data

    quick = {**EXPERIMENT, "execution": "local", "workload": {**EXPERIMENT["workload"], "seconds": 0.0}}  # type: ignore[dict-item]
    run(from_data(quick), tmp_path / "undisturbed")
    keys = ["configuration_id", "seed"]
    frames = [raysearch.load(place) for place in (run_dir, tmp_path / "undisturbed")]
    sides = [frame.sort_values(keys)[[*keys, "phase", "status", "loss"]].reset_index(drop=True) for frame in frames]
    assert sides[0].equals(sides[1])
    cuts = [decisions(place / "journal.jsonl") for place in (run_dir, tmp_path / "undisturbed")]
    assert cuts[0] == cuts[1]


def decisions(journal: Path) -> list[dict[str, object]]:
    """Return the eliminations and the verdict of a journal, without when they were made."""
    events = [event for event in read(journal) if event["event"] in ("eliminate", "verdict")]
    return [{name: value for name, value in event.items() if name not in ("t", "wave")} for event in events]
