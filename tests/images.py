"""Container images without a container engine: Debian's buildah, on a base that debootstrap makes.

RAYSEARCH_IMAGES=FOLDER keeps image and container there, and takes what it holds: to work at what runs in them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from real_processes import need

BASE = "localhost/python-of-debian"
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


class Buildah:
    """Images and containers in a folder of their own; what runs in the containers ends with them."""

    def __init__(self) -> None:
        kept = os.environ.get("RAYSEARCH_IMAGES")
        self.kept = kept is not None
        self.folder = Path(kept or tempfile.mkdtemp(prefix="rsimage", dir="/var/tmp"))
        self.mark = f"RAYSEARCH_TEST={uuid.uuid4().hex}"
        """In the environment of every process in a container: they are in sessions and namespaces of their own."""
        places = {"--root": "storage", "--runroot": "run"}
        options = [word for option, place in places.items() for word in (option, self.folder / place)]
        self.command = ["buildah", "--storage-driver", "vfs", *map(str, options)]
        self.environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "TMPDIR": str(self.folder)}

    def __call__(self, *words: object, **options: Any) -> str:
        """Carry a command of buildah out and return what it said; fail the test if it fails."""
        return _run([*self.command, *map(str, words)], env=self.environment, **options)

    def has(self, name: str) -> bool:
        """Return whether there is an image."""
        return name in self("images", "--format", "{{.Name}}:{{.Tag}}")

    def container(self, name: str) -> str:
        """Return a container of an image: all of it is copied, which takes minutes on a busy disk."""
        return (self("containers", "--quiet").split() or [self("from", name).strip()])[0]

    def make_base(self) -> None:
        """Make an image as `python:3.11-slim` is one: Debian, with a Python that takes packages."""
        root = self.folder / "base"
        packages = "python3,python3-pip,ca-certificates"
        _run(["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)])
        (root / "usr/lib/python3.11/EXTERNALLY-MANAGED").unlink()
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))  # of this machine's way to the registries
        container = self("from", "scratch").strip()
        self("add", "--quiet", container, root, "/")
        self("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, context: Path, dockerfile: Path, name: str) -> str:
        """Build an image and return what was said; PyTorch's wheel is that of this machine, where it has one."""
        arguments = {"BASE": BASE}
        volumes = []
        if wheel := _wheel_of_torch():
            index = self.folder / "index"
            (index / "torch").mkdir(parents=True)
            shutil.copy(wheel, index / "torch")
            quoted = wheel.name.replace("+", "%2B")
            (index / "torch/index.html").write_text(f'<a href="{quoted}">{wheel.name}</a>')
            arguments["TORCH_INDEX"] = "file:///index"
            volumes = ["--volume", f"{index}:/index:ro"]
        given = [word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")]
        return self("build", "--file", dockerfile, "--tag", name, *given, *volumes, context)

    def size(self, container: str) -> int:
        """Return what a container holds, in bytes."""
        said = _run(["du", "--summarize", "--one-file-system", "--block-size=1", str(self.root(container))])
        return int(said.split()[0])

    def root(self, container: str) -> Path:
        """Return where this machine sees the files of a container."""
        return Path(self("mount", container).strip())

    def inside(
        self,
        container: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        volumes: Mapping[Path, str],
        on: Sequence[str] = (),
        hostname: str = "container",
    ) -> list[str]:
        """Return the command that runs another in a container, as its image's user, on a host."""
        given = [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        given += ["--env", self.mark, "--hostname", hostname]
        given += [word for source, target in volumes.items() for word in ("--volume", f"{source}:{target}")]
        return [*on, *self.command, "run", "--isolation", "chroot", "--no-hosts", *given, container, "--", *command]

    def processes(self, *words: str) -> list[int]:
        """Return the processes in containers whose command lines hold these words."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    if all(word in line for word in words):
                        found.append(int(entry.name))
        return found

    def kill(self, *words: str) -> int:
        """Kill the processes in containers whose command lines hold these words; return how many there were."""
        killed = self.processes(*words)
        for pid in killed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(killed)

    def remove(self) -> None:
        """End what runs in the containers and remove everything."""
        while self.kill():
            pass
        if not self.kept:
            shutil.rmtree(self.folder)


def _run(command: Sequence[str], **options: Any) -> str:
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{(done.stdout or '')[-6000:]}"
    return str(done.stdout)


def _wheel_of_torch() -> Path | None:
    """Return the CPU build of PyTorch that pip finds on this machine's disk, if it has one."""
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "get", "global.find-links"], capture_output=True, text=True
    )
    folders = [*asked.stdout.split(), *os.environ.get("PIP_FIND_LINKS", "").split()]
    python = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = [wheel for folder in folders for wheel in Path(folder).glob(f"torch-*+cpu-{python}-*.whl")]
    return wheels[0] if wheels else None


@contextlib.contextmanager
def images() -> Iterator[Buildah]:
    """Yield a buildah of its own; skip the tests where there is none or it may not work."""
    need("buildah", "debootstrap", package="buildah, debootstrap")
    if os.geteuid() != 0:
        pytest.skip("debootstrap and chroot need root")
    buildah = Buildah()
    try:
        yield buildah
    finally:
        buildah.remove()
