"""A training's device, threads, generators and memory."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = """
import resource, sys
import torch
from raysearch.training.device import seeded
from raysearch.workloads._calorimeter.architecture import Architecture
from raysearch.workloads._calorimeter.networks import Network

def steps(n):
    for _ in range(n):
        network(cells).sum().backward()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

network, cells = Network(Architecture(conv1=32, conv2=64, fc=(9,)), "energy"), torch.rand(64, 15, 15)
with seeded(0, 1, torch.device("cpu")):
    steps(20)
    before = faults()
    steps(20)
    print((faults() - before) / 20)
"""


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_a_step_finds_the_memory_that_the_last_one_freed() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", STEPS], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) < 20, "pages are mapped anew at every step: hundreds, where nothing is kept"
