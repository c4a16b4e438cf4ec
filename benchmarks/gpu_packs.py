"""What packs gain on a GPU: one process each, processes that share it by fractions, and packs of 8 to 512.

    python benchmarks/gpu_packs.py                (minutes; without a GPU it says so and ends with exit code 2)
    python benchmarks/gpu_packs.py --device cpu --widths 8 64 --processes 1 2        (to try the script itself)

Wall milliseconds per instance and training step, after a first training that warms up, the device synchronised at both
ends. Sharing by fractions is what `execution: {gpus: 0.25}` does: so many processes train lone instances at once.
Beside each pack: how far the validation losses of its first instances are from those trained alone, the greatest
relative difference after the first and the last epoch (grouped kernels round otherwise), and the most memory.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
import torch
from step import JOBS, parts

from raysearch.records import InstanceKey
from raysearch.training import device as training_device
from raysearch.training import loop as training
from raysearch.training.packs.loop import Pack
from raysearch.training.packs.members import Common, Job, Member
from raysearch.training.packs.stack import CannotPack

EPOCHS, COMPARED = 3, 4
NO_GPU = 2


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def alone(number: int, seeds: list[int], kind: str) -> tuple[float, list[list[float]]]:
    """Return the seconds of lone trainings, one after the other, and their losses; the first one warms up."""
    torch.set_num_threads(1)
    device, (build, sets, task, recipe) = torch.device(kind), parts(JOBS[number])
    placed, settings = sets.to(device), training.Settings(EPOCHS, device=kind)  # type: ignore[arg-type]
    curves, start = [], 0.0
    for turn, seed in enumerate([seeds[0], *seeds]):
        if turn == 1:
            synchronise(device)
            start = time.perf_counter()
        with training_device.seeded(seed, 1, device):
            module = build().to(device)
            trained = training.fit(module, placed, task, recipe, settings, seed, lambda *_: None)
        curves.append(trained.curve)
    synchronise(device)
    return time.perf_counter() - start, curves[1:]


def packed(number: int, width: int, kind: str) -> tuple[float, list[list[float]]]:
    """Return the seconds of a pack, and the losses of its members."""
    torch.set_num_threads(1)
    device, (build, sets, task, recipe) = torch.device(kind), parts(JOBS[number])
    settings = training.Settings(EPOCHS, device=kind)  # type: ignore[arg-type]
    common, rows = Common(sets.to(device), task, settings), torch.arange(len(sets.train[0]))
    found: dict[int, list[float]] = {}
    seconds = 0.0
    for _ in range(2):  # the first one warms up
        jobs = [Job(InstanceKey("c", seed), build, rows, recipe, seed, None) for seed in range(width)]
        members = [Member.of(n, job, job.seed, settings.n_scored, device) for n, job in enumerate(jobs)]
        synchronise(device)
        start = time.perf_counter()
        found = {one.number: one.trained.curve for one in Pack(members, common).run(lambda member: True)}
        synchronise(device)
        seconds = time.perf_counter() - start
    return seconds, [found[n] for n in range(width)]


def apart(one: list[list[float]], other: list[list[float]]) -> str:
    """Return the greatest relative differences after the first and the last epoch."""
    pairs = zip(one[:COMPARED], other[:COMPARED], strict=False)
    found = np.max([np.abs(np.asarray(a) / np.asarray(b) - 1) for a, b in pairs], axis=0)
    return f"{found[0]:.0e}, {found[-1]:.0e}"


def lines(number: int, options: argparse.Namespace) -> list[str]:
    """Measure one network and return its lines of the table."""
    job, kind = JOBS[number], options.device
    n_steps = EPOCHS * -(-len(parts(job)[1].train[0]) // job.batch_size)
    seconds, curves = alone(number, list(range(COMPARED)), kind)
    base = 1e3 * seconds / COMPARED / n_steps
    found = [f"| {job.label}, {job.batch_size} | one process, lone instances | {base:.3f} | 1.0 | | |"]
    for n in options.processes:
        with ProcessPoolExecutor(n, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(alone, [number] * n, [[0]] * n, [kind] * n))  # they start, and see the device
            done = list(pool.map(alone, [number] * n, [list(range(COMPARED))] * n, [kind] * n))
        ms = 1e3 * max(seconds for seconds, _ in done) / (COMPARED * n) / n_steps
        same = apart([done[0][1][0]], [curves[0]])
        found.append(f"| | {n} processes share the device | {ms:.3f} | {base / ms:.1f} | {same} | |")
    for width in options.widths:
        if kind == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            seconds, own = packed(number, width, kind)
        except (CannotPack, torch.OutOfMemoryError) as error:
            found.append(f"| | pack of {width} | {type(error).__name__}: {str(error)[:60]} | | | |")
            break
        ms = 1e3 * seconds / width / n_steps
        gib = f"{torch.cuda.max_memory_allocated() / 2**30:.2f}" if kind == "cuda" else ""
        found.append(f"| | pack of {width} | {ms:.3f} | {base / ms:.1f} | {apart(own, curves)} | {gib} |")
    return found


def main() -> Any:
    """Print the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--widths", type=int, nargs="*", default=[8, 32, 128, 512])
    parser.add_argument("--processes", type=int, nargs="*", default=[2, 4, 8])
    parser.add_argument("--networks", type=int, nargs="*", default=[0, 1, 3, 5, 8], help="numbers in step.JOBS")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print(
            f"gpu_packs: this process sees no GPU (torch {torch.__version__}). It needs a machine that has one and a "
            "CUDA build of torch; nothing was measured. `--device cpu` tries the script itself.",
            file=sys.stderr,
        )
        return NO_GPU
    where = torch.cuda.get_device_name() if options.device == "cuda" else "CPU, one thread"
    print(f"{where}, torch {torch.__version__}, {EPOCHS} epochs\n")
    print("| network, batch | way | ms per instance-step | times cheaper | losses apart: epoch 1, last | GiB |")
    print("|---|---|---|---|---|---|")
    for number in options.networks:
        print(*lines(number, options), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
