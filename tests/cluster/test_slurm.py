"""`cluster/slurm/raysearch.sbatch` on Debian's real Slurm: one controller and three slurmd on the loopback."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from real_processes import BIN, Daemons, free_port, need
from waiting import wait_for

import raysearch
from raysearch.storage.journal import read

ROOT = Path(__file__).parents[2]
NODES = ("n1", "n2", "n3")
CONFIGURATION = """
ClusterName=raysearch
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={directory}/munge.sock
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
StateSaveLocation={directory}/state
SlurmdSpoolDir={directory}/spool-%n
SlurmctldPidFile={directory}/slurmctld.pid
SlurmdPidFile={directory}/slurmd-%n.pid
KillWait=5
ReturnToService=2
SlurmctldPort={port}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
NODE = "NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=4000 Gres=gpu:1\n"


@pytest.fixture
def slurm() -> Iterator[Daemons]:
    """Yield a running Slurm of three nodes."""
    need("slurmctld", "slurmd", "munged", package="slurm-wlm")
    if os.geteuid() != 0:
        pytest.skip("slurmd needs root to start jobs")
    daemons = Daemons()
    directory = daemons.directory
    for name in ("state", *(f"spool-{node}" for node in NODES)):
        (directory / name).mkdir()
    (directory / "munge.key").write_bytes(os.urandom(1024))
    (directory / "munge.key").chmod(0o600)
    port = free_port()
    nodes = "".join(NODE.format(name=name, port=port + 1 + n) for n, name in enumerate(NODES))
    (directory / "slurm.conf").write_text(CONFIGURATION.format(directory=directory, port=port) + nodes)
    # any device will do: Slurm counts it and sets the job's variables
    (directory / "gres.conf").write_text("".join(f"NodeName={name} Name=gpu File=/dev/null\n" for name in NODES))
    daemons.environment["SLURM_CONF"] = str(directory / "slurm.conf")
    munge = ["socket", "key-file", "pid-file", "log-file", "seed-file"]
    places = ["munge.sock", "munge.key", "munge.pid", "munge.log", "munge.seed"]
    options = [f"--{option}={directory / place}" for option, place in zip(munge, places, strict=True)]
    daemons.start("munged", ["munged", "--foreground", "--force", *options])
    try:
        wait_for("munge", (directory / "munge.sock").exists)
        daemons.start("slurmctld", ["slurmctld", "-D"])
        for name in NODES:
            daemons.start(name, ["slurmd", "-D", "-N", name])
        wait_for("three idle nodes", lambda: "3" in daemons.run(["sinfo", "-h", "-t", "idle", "-o", "%D"]))
        yield daemons
    finally:
        daemons.stop()


def submit(slurm: Daemons, *settings: str, **environment: str) -> int:
    """Submit the real script for the synthetic search on all nodes and return the job's number."""
    size = ["--nodes=3", "--cpus-per-task=1", "--gres=gpu:1", "--time=10", f"--output={slurm.directory}/job.log"]
    search = [slurm.directory / "run", "search_spaces/synthetic.yaml", "--set", "tracking=null"]
    command = ["sbatch", "--parsable", *size, "cluster/slurm/raysearch.sbatch", *search]
    more = [word for setting in settings for word in ("--set", setting)]
    environment = {**slurm.environment, "RAYSEARCH_RAY_START": "--object-store-memory 100000000", **environment}
    return int(slurm.run([*command, *more], cwd=ROOT, env=environment))


def wait_for_end(slurm: Daemons, job: int) -> str:
    """Return how a job ended."""

    def state() -> str:
        text = slurm.run(["scontrol", "--oneliner", "show", "job", job])
        found = re.search(r"JobState=(\w+)", text)
        assert found is not None
        return "" if found[1] in ("PENDING", "RUNNING", "COMPLETING") else found[1]

    return wait_for("the job's end", state, pause_s=1.0)


def locally(directory: Path) -> pd.DataFrame:
    """Return the instances of the same search, trained one by one in this process."""
    from raysearch.driver import run
    from raysearch.experiment.experiment import from_file

    values = ["tracking=null", "race.confirm=5", "execution=local"]
    run(from_file(ROOT / "search_spaces/synthetic.yaml", values), directory)
    return raysearch.load(directory)


def same_instances(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Return whether two searches trained the same instances to the same losses."""
    keys = ["configuration_id", "seed"]
    sides = [frame.sort_values(keys)[[*keys, "status", "loss"]].reset_index(drop=True) for frame in (one, other)]
    return bool(sides[0].equals(sides[1]))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_runs_on_three_slurm_nodes_with_half_gpus(slurm: Daemons, tmp_path: Path) -> None:
    job = submit(slurm, "race.confirm=5", "execution.gpus=0.5", "execution.cpus=0.5")
    state = wait_for_end(slurm, job)
    log = (slurm.directory / "job.log").read_text()
    assert state == "COMPLETED", log
    assert log.count("Ray runtime started") == 3, log
    assert same_instances(raysearch.load(slurm.directory / "run"), locally(tmp_path / "run"))
    assert not Path(f"/tmp/ray-{job}").exists()
    left = subprocess.run(["pgrep", "-f", f"/tmp/ray-{job}/"], capture_output=True, text=True)
    assert left.stdout == "", "processes of the job outlived it"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_whose_time_is_up_goes_on_in_the_next_job(slurm: Daemons, tmp_path: Path) -> None:
    job = submit(slurm, "race.confirm=5", "workload.seconds=0.3", RAYSEARCH_REQUEUE="1")
    journal = slurm.directory / "run/journal.jsonl"

    def told() -> int:
        return sum(event["event"] == "tell" for event in read(journal))

    wait_for("the first instances", lambda: told() >= 20)
    slurm.run(["scancel", "--signal=TERM", "--batch", job])  # what Slurm sends before the time limit

    def requeued() -> bool:
        text = slurm.run(["scontrol", "--oneliner", "show", "job", job])
        return "JobState=PENDING" in text and "Restarts=1" in text

    wait_for("the job to be queued again", requeued)
    before = told()
    time.sleep(1)
    assert told() == before, "the first driver still runs"
    slurm.run(["scontrol", "update", f"jobid={job}", "StartTime=now"])  # Slurm would wait two minutes
    state = wait_for_end(slurm, job)
    log = (slurm.directory / "job.log").read_text()
    assert state == "COMPLETED", log
    assert [event["event"] for event in read(journal) if event["event"] in ("start", "resume")] == ["start", "resume"]
    assert same_instances(raysearch.load(slurm.directory / "run"), locally(tmp_path / "run"))


def test_the_script_asks_for_its_arguments() -> None:
    need("bash", package="bash")
    daemons = Daemons()
    try:
        with pytest.raises(AssertionError, match="usage: sbatch"):
            daemons.run(["bash", ROOT / "cluster/slurm/raysearch.sbatch"], cwd=BIN)
    finally:
        daemons.stop()
