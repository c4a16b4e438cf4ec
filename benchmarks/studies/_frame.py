"""What all studies share: instances trained by raysearch's own searches, resumably, and the command line.

A study is a module with `NAME`, `SIZES` (numbers of everything by size) and `study(bench, size) -> Page`. Its instances
come from `Bench.instances`: an exhaustive search in a run directory of its own, which goes on where it broke off.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from _page import Page
from numpy.typing import NDArray

from raysearch.driver.resume import resume
from raysearch.driver.run import load, run
from raysearch.experiment.experiment import Experiment, from_data, from_file

Array = NDArray[np.float64]
ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "studies"
SIZE_NAMES = ("quick", "small", "full")


@dataclass
class Bench:
    """Where a study trains, and what it has trained so far.

    Args:
        name: of the study.
        size: `quick` (minutes; proves that it runs), `small` (two shared cores, most of an hour for all) or `full`.
        runs: folder of the run directories.
        execution: section of the executor.
    """

    name: str
    size: str
    runs: Path
    execution: dict[str, Any] = field(default_factory=lambda: {"name": "ray_tune", "cpus": 1, "pack": 16})
    n_trained: int = 0
    seconds: float = 0.0

    def instances(
        self,
        cell: str,
        workload: Mapping[str, Any],
        space: Mapping[str, Any],
        n_instances: int,
        *,
        seed: int = 0,
        study: str | None = None,
        measures: Sequence[Any] = (),
        sampler: Any = "grid",
        constraints: Mapping[str, float] | None = None,
    ) -> pd.DataFrame:
        """Return `n_instances` of every configuration of a space, trained now or before.

        A value of the space that is no list is fixed. Cells of one `seed` share seeds: their instances are paired.
        `study` names the folder where studies share a cell.
        """
        data = {
            "name": f"{self.name}-{cell}",
            "seed": seed,
            "workload": dict(workload),
            "space": {name: value if isinstance(value, list | dict) else [value] for name, value in space.items()},
            "constraints": dict(constraints or {}),
            "sampler": sampler,
            "criterion": "median",
            "rule": {"name": "exhaustive", "n_instances": n_instances},
            "race": {"confirm": 0},
            "measures": list(measures),
            "execution": self.execution,
            "tracking": None,
        }
        table = self._searched(self.runs / self.size / (study or self.name) / cell, from_data(data))
        self.n_trained += len(table)
        self.seconds += float(table["seconds"].sum())
        return table

    def _searched(self, folder: Path, experiment: Experiment) -> pd.DataFrame:
        if not (folder / "journal.jsonl").exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            run(experiment, folder)
            return load(folder)
        before = from_file(folder / "experiment.yaml")
        for part in ("workload", "space", "sampler", "seed", "measures"):
            if getattr(before, part) != getattr(experiment, part):
                raise SystemExit(f"{folder} was trained with another {part}: remove it, or choose another --runs")
        n = experiment.rule["n_instances"]
        done = load(folder)
        if not (folder / "report.html").exists() or done.groupby("configuration_id").size().min() < n:
            resume(folder, {"rule.n_instances": n, "execution": self.execution})
            done = load(folder)
        return done[done["instance"] < n]


def matrix(table: pd.DataFrame, column: str = "test_loss") -> tuple[Array, list[dict[str, Any]]]:
    """Return a column by configuration and instance, `(n_configurations, n_instances)`, and the configurations.

    +inf where an instance diverged or failed.
    """
    own = table.assign(value=table[column].where(np.isfinite(table["loss"]), np.inf))
    wide = own.pivot(index="configuration_id", columns="instance", values="value")
    first = table.drop_duplicates("configuration_id").set_index("configuration_id")["parameters"]
    return wide.to_numpy(dtype=float), [json.loads(first[one]) for one in wide.index]


def values(table: pd.DataFrame, column: str = "test_loss") -> Array:
    """Return a column of the only configuration's instances, in their order."""
    return matrix(table, column)[0][0]


def metric(table: pd.DataFrame, name: str) -> Array:
    """Return a metric by configuration and instance, in the order of `matrix`; NaN where an instance has none."""
    numbers = [json.loads(text).get(name, np.nan) for text in table["metrics"]]
    wide = table.assign(number=np.asarray(numbers, dtype=float))
    return wide.pivot(index="configuration_id", columns="instance", values="number").to_numpy(dtype=float)


def _spent(folder: Path, seconds: float) -> float:
    """Return the processor time of all calls of a study so far, this one's included."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "processor_s"
    total = seconds + (float(record.read_text()) if record.exists() else 0.0)
    record.write_text(f"{total:.1f}\n")
    return total


Study = Callable[[Bench, Any], Page]


def main(name: str, doc: str, sizes: Mapping[str, Any], study: Study, arguments: Sequence[str] | None = None) -> Page:
    """Carry one study out, as the command line says, write its page and figure, and return the page."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZE_NAMES, default="full", help="how many instances of how large trainings")
    parser.add_argument("--quick", action="store_const", dest="size", const="quick", help="the same as --size quick")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "studies", help="folder of the searches")
    parser.add_argument("--pages", type=Path, help="folder of page and figure; docs/studies unless quick")
    parser.add_argument("--local", action="store_true", help="train in this process instead of on Ray")
    options = parser.parse_args(arguments)
    bench = Bench(name, options.size, options.runs)
    if options.local or options.size == "quick":
        bench.execution = {"name": "local", "pack": 16}
    pages = options.pages or (options.runs / "quick" if options.size == "quick" else PAGES)
    cpu = time.process_time()
    page = study(bench, sizes[options.size])
    cost = f"{bench.n_trained:,} instances, {bench.seconds:,.0f} s of training in all (wall time of each, summed)"
    if bench.execution["name"] == "local":
        cost += f"; {_spent(options.runs / options.size / name, time.process_time() - cpu):,.0f} s of processor time"
    local = " --local" if options.local else ""
    command = f"python benchmarks/studies/{Path(sys.modules[study.__module__].__file__ or '').name}"
    page.write(pages, name, f"{shlex.join(shlex.split(command))} --size {options.size}{local}", options.size, cost)
    print(page.text)
    return page
