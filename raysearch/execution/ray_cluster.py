"""The Ray cluster that this process is connected to: joined or started, or why it cannot be the one asked for."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from typing import Any

import ray

from raysearch.errors import ResourceError
from raysearch.execution import ray_tune_internals as internals

_ADDRESS = "RAY_ADDRESS"
_ANSWER_S = 5.0
_REMEDY = "call `ray.shutdown()` first"


def named(address: str | None) -> str | None:
    """Return the cluster to join, None where one is to be started here."""
    address = address or os.environ.get(_ADDRESS) or "local"
    return None if address == "local" else address


def connect(address: str | None, local_cpus: int | None) -> None:
    """Join the cluster at `address` or start one of `local_cpus` CPUs; raises ResourceError if there is another one."""
    if ray.is_initialized():
        _check_connected(address, local_cpus)
    else:
        _join_or_start(address, local_cpus)


def _check_connected(address: str | None, local_cpus: int | None) -> None:
    """Raise ResourceError unless the cluster of this process lives and is the one asked for."""
    if internals.is_client():
        return
    here: str = ray.get_runtime_context().gcs_address
    if not _answers(here):  # Ray would wait for 60 s and end the process
        raise ResourceError(
            f"the Ray cluster at {here}, which this process is connected to, does not answer any more; one that was "
            f"started by `ray.init()` in a thread ends with that thread. To go on in this process, {_REMEDY}"
        )
    started_here = internals.started_here()
    if address not in (None, "auto") and not (started_here if address == "local" else _same(address, here)):
        wanted = "one of its own (`local`)" if address == "local" else f"the one at {address!r}"
        raise ResourceError(
            f"this process is connected to the Ray cluster at {here} already, and execution.address asks for {wanted}: "
            f"{_REMEDY}, or leave the address out"
        )
    if local_cpus is not None and started_here and address in (None, "local"):
        has = _cpus_of_this_node()
        if has != local_cpus:
            raise ResourceError(
                f"the Ray cluster that this process has started has {has:g} CPUs, execution.local_cpus asks for "
                f"{local_cpus}: {_REMEDY}, or leave local_cpus out"
            )


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except OSError:
        return False
    return True


def _same(address: str, here: str) -> bool:
    """Return whether an address as users write it is the cluster at `here`; a client's port is not the cluster's."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    own_host, _, own_port = here.rpartition(":")
    same_port = address.startswith("ray://") or port == own_port
    return same_port and bool(_numbers(host) & _numbers(own_host))


def _numbers(host: str) -> set[str]:
    host = host.strip("[]")
    try:
        numbers = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except OSError:
        return {host}
    loopback = {"127.0.0.1", "::1"}
    if numbers & loopback or ray.util.get_node_ip_address() in numbers:
        numbers |= loopback | {ray.util.get_node_ip_address()}
    return numbers


def _cpus_of_this_node() -> float:
    own = ray.get_runtime_context().get_node_id()
    return float(next((node["Resources"].get("CPU", 0) for node in ray.nodes() if node["NodeID"] == own), 0))


def _join_or_start(address: str | None, local_cpus: int | None) -> None:
    cluster = named(address)
    arguments: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    on_terminate = signal.getsignal(signal.SIGTERM)
    in_main_thread = threading.current_thread() is threading.main_thread()
    try:
        if cluster is not None:
            ray.init(address=cluster, **arguments)
        else:
            arguments |= {"address": "local", "num_cpus": local_cpus, "include_dashboard": False}
            ray.init(**arguments) if in_main_thread else _start_for_good(arguments)
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        where = f"the Ray cluster at {cluster!r}" if cluster else "a Ray cluster on this machine"
        given = "" if address else f" ({_ADDRESS} says so)" if cluster else ""
        raise ResourceError(
            f"cannot reach {where}{given}: {error}. Start one with `ray start --head`, or pass `--address local` "
            "for one on this machine"
        ) from error
    if in_main_thread:
        signal.signal(signal.SIGTERM, on_terminate)  # Ray put a handler of its own in its place


def _start_for_good(arguments: dict[str, Any]) -> None:
    """Start a cluster from a thread that stays: the kernel ends Ray's processes with the thread that started them."""
    started, errors = threading.Event(), []

    def start() -> None:
        try:
            ray.init(**arguments)
        except BaseException as error:
            errors.append(error)
        started.set()
        if not errors:
            threading.Event().wait()

    threading.Thread(target=start, daemon=True, name="raysearch-ray").start()
    started.wait()
    if errors:
        raise errors[0]
