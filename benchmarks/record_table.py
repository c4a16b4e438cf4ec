"""Record a table of real trainings: every configuration of an experiment file, the same instances of each.

    python benchmarks/record_table.py benchmarks/data/digits_1728.yaml

The file's sampler names the configurations, its rule `exhaustive` how many instances each trains, and `race.confirm`
how many others the best (`--best`) train, which no race asks for: from them comes the truth. Seeds are those of a
search with this file, so that a search on the table is the search itself. Goes on where it was ended: parts lie in
`--parts`, one file by configuration and phase.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from raysearch.experiment import experiment as experiments
from raysearch.experiment.experiment import Experiment
from raysearch.records import Configuration, InstanceResult, Phase
from raysearch.seeds import Seeds
from raysearch.storage import tables

PACK = 160
"""Most instances that train side by side."""


class Recording:
    """What an experiment file says shall be recorded, and the parts recorded so far."""

    def __init__(self, experiment: Experiment, parts: Path) -> None:
        self.experiment, self.parts = experiment, parts
        self.workload = experiment.load("workload")
        space = experiment.build_space(self.workload)
        self.configurations: list[Configuration] = experiment.load("sampler").bind(space, experiment.seed)([])
        for one in self.configurations:
            self.workload.check(one.parameters)
        self.seeds = Seeds(experiment.seed)
        self.n_instances: int = experiment.load("rule").n_instances
        parts.mkdir(parents=True, exist_ok=True)
        self._check_settings()

    def _check_settings(self) -> None:
        """End where the parts are those of another workload: they would mix in silence."""
        told = json.dumps([self.experiment.workload, self.experiment.seed])
        known = self.parts / "settings.json"
        if known.exists() and known.read_text() != told:
            raise SystemExit(f"{self.parts} holds parts of {known.read_text()}, not of {told}: choose other --parts")
        known.write_text(told)

    def part(self, configuration: Configuration, phase: Phase) -> Path:
        """Return where the instances of a configuration are kept."""
        return self.parts / f"{configuration.id}-{phase.value}.npz"

    def losses(self, configuration: Configuration, phase: Phase = Phase.RACE) -> NDArray[np.float64]:
        """Return the recorded losses `(n_instances,)`."""
        with np.load(self.part(configuration, phase)) as part:
            found: NDArray[np.float64] = part["loss"]
            return found

    def record(self, configurations: Sequence[Configuration], phase: Phase, n: int) -> None:
        """Train `n` instances of each configuration, but for those that are recorded; a random part comes first."""
        known = {one.id: self._n_recorded(one, phase) for one in configurations}
        packs = self._packs([one for one in configurations if known[one.id] < n], known, n)
        data = self.workload.prepare() if packs else None
        n_missing, n_done, start = sum(map(len, packs)), 0, time.perf_counter()
        print(f"{phase.value}: {n_missing} of {len(configurations)} configurations to record", flush=True)
        for pack in packs:
            members = [(one, self.seeds.seed(phase, index)) for one in pack for index in range(known[one.id], n)]
            results = self._train(members, data)
            for one in pack:
                self._keep(one, phase, [found for (own, _), found in zip(members, results, strict=True) if own is one])
            n_done += len(pack)
            each = (time.perf_counter() - start) / n_done
            print(f"{n_done} of {n_missing}, {each:.2f} s each, {time.process_time():.0f} s of CPU", flush=True)

    def _n_recorded(self, configuration: Configuration, phase: Phase) -> int:
        return len(self.losses(configuration, phase)) if self.part(configuration, phase).exists() else 0

    def _packs(
        self, configurations: Sequence[Configuration], known: dict[str, int], n: int
    ) -> list[list[Configuration]]:
        """Return the configurations in groups that train together, in random order."""
        by_key = defaultdict(list)
        for one in configurations:
            key = self.workload.pack_key(one.parameters)
            by_key[repr((key, one.id if key is None else "", known[one.id]))].append(one)
        packs = []
        for _, alike in sorted(by_key.items()):
            width = max(1, PACK // (n - known[alike[0].id]))
            packs += [alike[first : first + width] for first in range(0, len(alike), width)]
        return [packs[index] for index in np.random.default_rng(0).permutation(len(packs))]

    def _keep(self, configuration: Configuration, phase: Phase, results: Sequence[InstanceResult]) -> None:
        """Write the instances of a configuration, after those that are recorded."""
        path, arrays = self.part(configuration, phase), _arrays(results, self.workload.epochs)
        if path.exists():
            with np.load(path) as part:
                arrays = {name: np.concatenate([part[name], values]) for name, values in arrays.items()}
        aside = path.with_suffix(".aside.npz")
        np.savez(aside, **arrays)
        aside.replace(path)

    def best(self, n: int) -> list[Configuration]:
        """Return the `n` configurations of the least criterion in the race's instances."""
        criterion = self.experiment.load("criterion")
        values = criterion(np.stack([self.losses(one) for one in self.configurations]))
        return [self.configurations[row] for row in np.argsort(values, kind="stable")[:n]]

    def _train(self, members: Sequence[tuple[Configuration, int]], data: Any) -> list[InstanceResult]:
        found: list[InstanceResult] = []
        if self.workload.pack_key(members[0][0].parameters) is None:
            for configuration, seed in members:
                found += self.workload.train(configuration, [seed], lambda epoch, loss: None, data)
            return found
        for first in range(0, len(members), PACK):
            some = members[first : first + PACK]
            results = dict(self.workload.train_pack(some, lambda *told: True, data))
            found += [results[number] for number in range(len(some))]
        return found


def write(recording: Recording, path: Path) -> None:
    """Write what was recorded as a table in half precision."""
    frames = [
        _frame(recording, configuration, phase)
        for configuration in recording.configurations
        for phase in Phase
        if recording.part(configuration, phase).exists()
    ]
    table = pa.Table.from_pandas(pd.concat(frames), preserve_index=False)
    half = pa.float16()
    kinds = {"instance": pa.int16(), "loss": half, "test_loss": half, "seconds": half, "curve": pa.list_(half)}
    columns = [table[name].cast(kinds[name]) if name in kinds else table[name] for name in table.column_names]
    told = {**recording.experiment.model_dump(mode="json"), "made": _made()}
    table = pa.table(dict(zip(table.column_names, columns, strict=True)))
    store(table, told, [name for name in table.column_names if name not in kinds], path)
    print(f"{path}: {len(table)} instances, {path.stat().st_size / 1e6:.1f} MB", flush=True)


def store(table: pa.Table, told: dict[str, Any], texts: Sequence[str], path: Path) -> None:
    """Write a table small, with what is told of its experiment; `texts` are the columns that repeat few values."""
    aside = path.with_suffix(".aside")
    pq.write_table(
        table.replace_schema_metadata({tables.METADATA: json.dumps(told).encode()}),
        aside,
        compression="zstd",
        compression_level=19,
        use_dictionary=list(texts),
        use_byte_stream_split=["loss", "test_loss", "seconds", "curve.list.element"],
    )
    aside.replace(path)


def _frame(recording: Recording, configuration: Configuration, phase: Phase) -> pd.DataFrame:
    with np.load(recording.part(configuration, phase)) as part:
        n = len(part["loss"])
        return pd.DataFrame(
            {
                "configuration_id": configuration.id,
                "parameters": json.dumps(dict(configuration.parameters)),
                "phase": phase.value,
                "instance": range(n),
                "seed": [recording.seeds.seed(phase, index) for index in range(n)],
                **{name: part[name].astype(np.float16) for name in ("loss", "test_loss", "seconds")},
                **{f"p.{name}": _cell(value) for name, value in configuration.parameters.items()},
                "curve": [curve[~np.isnan(curve)].astype(np.float16) for curve in part["curve"]],
            }
        )


def _cell(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)


def _made() -> dict[str, str]:
    versions = {name: metadata.version(name) for name in ("raysearch", "torch", "numpy", "scikit-learn")}
    return {"date": time.strftime("%Y-%m-%d"), "python": platform.python_version(), **versions, "machine": _processor()}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, one thread"


def _arrays(results: Sequence[InstanceResult], epochs: int) -> dict[str, NDArray[np.float64]]:
    curves = np.full((len(results), epochs), np.nan)
    for row, result in zip(curves, results, strict=True):
        row[: len(result.curve)] = result.curve
    test = [np.nan if one.test_loss is None else one.test_loss for one in results]
    return {
        "loss": np.array([one.loss for one in results]),
        "test_loss": np.array(test, dtype=np.float64),
        "seconds": np.array([one.seconds for one in results]),
        "curve": curves,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="an experiment file, e.g. benchmarks/data/digits_1728.yaml")
    parser.add_argument("--out", type=Path, help="the table; beside the file if not given")
    parser.add_argument("--only-write", action="store_true", help="write what there is, train nothing")
    parser.add_argument("--best", type=int, default=60, help="configurations whose truth is recorded")
    parser.add_argument("--parts", type=Path, help="where parts are kept; beside the file if not given")
    options = parser.parse_args()
    torch.set_num_threads(1)
    experiment = experiments.from_file(options.file)
    recording = Recording(experiment, options.parts or options.file.with_suffix(".parts"))
    if not options.only_write:
        recording.record(recording.configurations, Phase.RACE, recording.n_instances)
        recording.record(recording.best(options.best), Phase.CONFIRMATION, experiment.race.confirm)
    write(recording, options.out or options.file.with_suffix(".parquet"))


if __name__ == "__main__":
    main()
