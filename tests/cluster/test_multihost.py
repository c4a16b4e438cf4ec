"""A race across hosts with addresses of their own: network namespaces on one bridge, joined by Ray as machines are."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hosts import Hosts, separate_hosts
from real_processes import Daemons
from waiting import wait_for

import raysearch
from raysearch.storage.journal import read

SEARCH = """
import json, socket, sys, time
from pathlib import Path
import raysearch
from raysearch.records import Configuration
from raysearch.workloads.synthetic import Synthetic

run_dir, marks, execution = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])

def train(config, seed):
    (loss,) = Synthetic().losses(Configuration.of(config), [seed])
    here = socket.gethostname()
    Path(marks, f"{here}-{time.time_ns()}").touch()
    if len(list(marks.glob(f"{here}-*"))) > 3:
        while not Path(marks, "go").exists():
            time.sleep(0.05)
    return float(loss)

raysearch.search(
    train,
    space={"level": [0.2, 0.22, 0.25, 0.3], "spread": [0.005, 0.05]},
    criterion="median",
    rule={"name": "halving", "warmup": 4},
    confirm=6,
    seed=7,
    run_dir=run_dir,
    execution=execution,
    tracking=None,
    progress=False,
)
"""
"""The first three trainings of a host end at once, all others of the hosts wait for `go`."""
# A dead host is noticed after period x threshold instead of the default's half a minute.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with separate_hosts() as hosts:
        yield hosts


@pytest.fixture
def daemons(daemons: Daemons) -> Daemons:
    daemons.environment |= HEALTH
    return daemons


def join(hosts: Hosts, daemons: Daemons, name: str) -> subprocess.Popen[bytes]:
    """Add a host with one GPU and let it join the cluster by the head's address; returns what runs there."""
    address = hosts.add(name)
    here = ["--address", "10.213.0.1:6379", "--node-ip-address", address]
    small = ["--num-cpus", 1, "--num-gpus", 1, "--object-store-memory", 100_000_000]
    process: subprocess.Popen[bytes] = daemons.start_ray(name, *here, *small, prefix=hosts.on(name))
    return process


@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_race_survives_a_cut_link_and_uses_a_host_that_joins_later(
    hosts: Hosts, daemons: Daemons, tmp_path: Path
) -> None:
    head = ["--head", "--node-ip-address", "10.213.0.1", "--port", 6379, "--include-dashboard", "false"]
    small = ["--num-cpus", 0, "--num-gpus", 0, "--object-store-memory", 100_000_000]
    daemons.wait_for_ray("head", daemons.start_ray("head", *head, *small, prefix=hosts.on("head")))
    joining = [(name, join(hosts, daemons, name)) for name in ("one", "two")]
    _, cut_off = [daemons.wait_for_ray(name, process) for name, process in joining]

    run_dir, marks = tmp_path / "run", tmp_path / "marks"
    execution = {"name": "ray_tune", "cpus": 0.5, "gpus": 0.5, "address": "10.213.0.1:6379"}
    driver = daemons.start("driver", [*hosts.on("head"), *search(run_dir, marks, execution)], cwd=tmp_path)

    def nodes() -> list[str]:
        return [event["node"] for event in read(run_dir / "journal.jsonl") if event["event"] == "tell"]

    def waits(name: str) -> bool:
        return nodes().count(name) == 3 < len(list(marks.glob(f"{name}-*")))

    try:
        wait_for("both hosts to train three instances and a fourth", lambda: waits("one") and waits("two"), by=driver)
        hosts.cut("two")
        join(hosts, daemons, "three")
        wait_for("the host that joined to train", lambda: "three" in nodes(), by=driver)
    except (RuntimeError, TimeoutError) as error:
        pytest.fail(f"{error}\n{sorted(marks.iterdir())}\n{daemons.log('driver')}")
    (marks / "go").touch()
    assert driver.wait() == 0, daemons.log("driver")

    failures = [event for event in read(run_dir / "journal.jsonl") if event["event"] in ("failure", "lost")]
    assert failures, "what ran on the host that was cut off was tried again"
    assert nodes().count("two") == 3, "nothing comes home by a cut link"
    _assert_undisturbed(tmp_path, run_dir)
    cut_off.kill()  # told to end, it would look for the head for long


def search(run_dir: Path, marks: Path, execution: object) -> list[str]:
    """Return the command that carries the search out."""
    marks.mkdir()
    return [sys.executable, "-c", SEARCH, str(run_dir), str(marks), json.dumps(execution)]


def _assert_undisturbed(tmp_path: Path, run_dir: Path) -> None:
    """The search is what it is in one process without hosts, links and cuts."""
    quick = search(tmp_path / "undisturbed", tmp_path / "at-once", "local")
    (tmp_path / "at-once" / "go").touch()
    subprocess.run(quick, check=True, capture_output=True, text=True)
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
