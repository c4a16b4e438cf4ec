"""Where an instance is trained: the device, torch's threads and its own generators, for as long as it lasts."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from raysearch.errors import ResourceError

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # numbers of glibc's mallopt
_KEPT_BYTES, _LARGEST_BYTES = 2**26, 2**25


def choose_device(wanted: str) -> torch.device:
    """Return the device; raises ResourceError if `cuda` is wanted where this process sees no GPU."""
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ResourceError(
            "device: cuda, but this process sees no GPU. Ask for one with `execution: {gpus: 1}` on a machine that has "
            "it and a CUDA build of torch, or set device: auto."
        )
    return torch.device("cuda" if there and wanted != "cpu" else "cpu")


@contextmanager
def seeded(seed: int, n_threads: int, device: torch.device) -> Iterator[None]:
    """Seed torch's own generators (initial weights, dropout) for one instance only; deterministic kernels only."""
    _keep_freed_memory()
    threads = torch.get_num_threads()
    flags = torch.backends.cudnn.flags(deterministic=True, benchmark=False)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), flags:
        seed_all(seed, device)
        torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def seed_all(seed: int, device: torch.device) -> None:
    """Seed torch's own generators of the CPU and of this device, as torch.manual_seed seeds those of all devices."""
    torch.default_generator.manual_seed(seed)  # a hundredth of the time of torch.manual_seed
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


@functools.cache
def _keep_freed_memory() -> None:
    """Let this process keep what the activations of a step free, up to 64 MiB, for the next step.

    glibc gives such memory back to the system after every step, and the next one has each page mapped anew: hundreds of
    page faults, a tenth of a step of a small convolution network and more. Without glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
    mallopt(_MMAP_THRESHOLD, _LARGEST_BYTES)
