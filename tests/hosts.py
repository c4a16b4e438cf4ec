"""Hosts with addresses of their own on one machine: network namespaces on one bridge."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest
from real_processes import need


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


@contextlib.contextmanager
def separate_hosts() -> Iterator[Hosts]:
    """Yield hosts, `head` among them, and remove them; skip the test where the machine allows none."""
    need("ip", "unshare", package="iproute2")
    hosts = Hosts()
    try:
        hosts.add("head")
        subprocess.run([*hosts.on("head"), "true"], check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        hosts.remove()
        pytest.skip(f"network namespaces are not allowed here: {error.stderr.strip()}")
    try:
        yield hosts
    finally:
        hosts.remove()
