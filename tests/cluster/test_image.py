"""The image of `cluster/compose/Dockerfile`, built, and the services of `compose.yaml` in it, on hosts of their own."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hosts import Hosts, separate_hosts
from images import Buildah, images
from postgres import need_postgres, start_postgres
from real_processes import Daemons
from waiting import wait_for

import raysearch
from raysearch.storage.journal import read

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "cluster/compose/compose.yaml"
NAME = re.search(r"-t (\S+)", (ROOT / "cluster/compose/Dockerfile").read_text())[1]  # type: ignore[index]
GIB = 2**30
RUNS_IN_MLFLOW = """
import pathlib
import mlflow
[experiment] = mlflow.search_experiments(filter_string="name = 'demo'")
runs = mlflow.search_runs([experiment.experiment_id], output_format="list")
kinds = [run.data.tags["kind"] for run in runs]
said = " ".join(str(kinds.count(kind)) for kind in ("search", "configuration", "instance"))
pathlib.Path("/runs/in_mlflow").write_text(said)
"""
SMALLER = ["workload.epochs=3", "workload.n_train=400", "workload.n_validation=200", "workload.n_test=200"]
READY = {
    "mlflow": "Application startup complete",
    "head": "Ray runtime started",
    "worker": "Ray runtime started",
}
"""Services in the order in which they start, and what each says when it is ready."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def buildah() -> Iterator[Buildah]:
    """A buildah that has built the image."""
    with images() as buildah:
        if not buildah.has(NAME):
            buildah.make_base()
            print(buildah.build(ROOT, ROOT / "cluster/compose/Dockerfile", NAME))
        yield buildah


@pytest.fixture(scope="module")
def container(buildah: Buildah) -> str:
    """One container for all."""
    return buildah.container(NAME)


@pytest.fixture
def hosts() -> Iterator[Hosts]:
    with separate_hosts() as hosts:
        yield hosts


def test_its_user_is_nobody_special_and_its_pytorch_has_no_cuda(buildah: Buildah, container: str) -> None:
    def say(*command: str) -> str:
        # buildah 1.28 can lose what a short process says where the machine is busy
        return wait_for(" ".join(command), lambda: buildah("run", container, "--", *command).strip())

    assert say("id", "--user") == "1000"
    assert say("python", "-c", "import torch; print(torch.version.cuda)") == "None"
    # KubeRay starts Ray by a login shell, whose PATH is not the image's; its probes use wget
    assert "2.60" in say("bash", "-lc", "ulimit -n 65536; ray --version; which wget pgrep")
    assert "Usage: raysearch" in say("raysearch", "--help")
    assert say("sh", "-c", "ls") == "LICENSE\nREADME.md\nconstraints.txt\npyproject.toml\nraysearch\nsearch_spaces"
    size = buildah.size(container)
    print(f"{size / GIB:.2f} GiB")
    assert size < 2.5 * GIB


class Services:
    """What `docker compose up` makes of the file: its services, each on a host of its name, with a /tmp of its own."""

    def __init__(self, buildah: Buildah, container: str, hosts: Hosts, daemons: Daemons) -> None:
        self.buildah, self.container, self.hosts, self.daemons = buildah, container, hosts, daemons
        words = {name: secrets.token_hex(16) for name in ("MLFLOW_PASSWORD", "MLFLOW_FLASK_KEY", "RAY_AUTH_TOKEN")}
        self.addresses = {"head": "10.213.0.1"} | {name: hosts.add(name) for name in ("mlflow", "postgres", "worker")}
        where = start_postgres(daemons, self.addresses["postgres"], 5432, hosts.on("postgres"))
        words["POSTGRES_PASSWORD"] = where["PGPASSWORD"]
        self.services = _services(words)
        self.folder = daemons.directory
        lines = [f"{address} {name}\n" for name, address in self.addresses.items()]
        (self.folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(lines))

    def up(self, name: str) -> Any:
        """Start a service and return its process."""
        service = self.services[name]
        assert (service["image"], service["restart"]) == (NAME, "unless-stopped")
        again = ["sh", "-c", 'while true; do "$@"; sleep 1; done', "sh"]  # a busy machine can miss Ray's 30 s to start
        return self.daemons.start(name, [*again, *self.inside(name, *service["command"])])

    def inside(self, name: str, *command: str) -> list[str]:
        """Return the command that runs another where a service runs, as `docker compose exec` does."""
        service = self.services[name]
        volumes = {self.folder / "hosts": "/etc/hosts:ro", self._volume(f"tmp-{name}", "/tmp"): "/tmp"}
        for volume in service.get("volumes", []):
            source, _, target = volume.partition(":")
            place = COMPOSE.parent / source if source.startswith(".") else self._volume(source, target)
            volumes[place] = target
        environment = {"GRPC_DNS_RESOLVER": "native", **service["environment"]}  # gRPC's own waits for a DNS server
        return self.buildah.inside(self.container, command, environment, volumes, self.hosts.on(name), name)

    def _volume(self, name: str, target: str) -> Path:
        """Return the folder of a named volume, which belongs to whom the image's folder belongs to, as in Docker."""
        folder = self.folder / f"volume-{name}"
        if not folder.exists():
            folder.mkdir()
            in_image = (self.buildah.root(self.container) / target.lstrip("/")).stat()
            os.chown(folder, in_image.st_uid, in_image.st_gid)
            folder.chmod(in_image.st_mode & 0o7777)
        return folder


def _services(words: dict[str, str]) -> dict[str, Any]:
    """Return the services of the file with its variables put in, by their defaults where there is one."""

    def value(match: re.Match[str]) -> str:
        return words.get(match[1], match[2] or "")

    text = re.sub(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}", value, COMPOSE.read_text())
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def test_the_services_run_the_demo_which_is_resumed_after_a_kill(
    buildah: Buildah, container: str, hosts: Hosts, daemons: Daemons
) -> None:
    need_postgres()
    services = Services(buildah, container, hosts, daemons)
    started = {name: services.up(name) for name in READY}
    for name, ready in READY.items():
        try:
            wait_for(name, lambda name=name, ready=ready: ready in daemons.log(name), 900, by=started[name])
        except TimeoutError as error:
            pytest.fail(f"{error}\n{daemons.log(name)[-6000:]}")

    smaller = [word for setting in SMALLER for word in ("--set", setting)]
    demo = services.inside("head", "raysearch-run-or-resume", "/runs/demo", "search_spaces/demo.yaml", *smaller)
    journal = daemons.directory / "volume-runs/demo/journal.jsonl"

    def told() -> Counter[tuple[str, int]]:
        events = [event for event in read(journal) if event["event"] == "tell"]
        return Counter((event["configuration"], event["seed"]) for event in events)

    driver = daemons.start("driver", demo)
    wait_for("some instances", lambda: len(told()) >= 5, timeout_s=600, by=driver)
    assert buildah.kill("raysearch run", "/runs/demo"), "there is a driver in the container"
    assert driver.wait() != 0
    assert "Winner" not in daemons.log("driver")
    print(daemons.run(demo))

    events = Counter(event["event"] for event in read(journal))
    assert (events["start"], events["resume"], events["verdict"]) == (1, 1, 1)
    assert set(told().values()) == {1}
    frame = raysearch.load(journal.parent)
    assert set(frame["node"]) == {"worker"}, "the head trains nothing"
    assert journal.stat().st_uid == 1000
    daemons.run(services.inside("head", "raysearch", "sync", "/runs/demo"))  # what the killed driver still held
    daemons.run(services.inside("head", "python", "-c", RUNS_IN_MLFLOW))
    assert (journal.parents[1] / "in_mlflow").read_text() == f"1 16 {len(frame)}"
    assert (journal.parent / "report.html").exists()
    shutil.rmtree(daemons.directory / "volume-runs")
