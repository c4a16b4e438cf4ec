"""Keep the trainings of payoff.py's three jobs at size small as tables, so that its figure needs no training.

    python benchmarks/record_payoff.py [--runs runs/studies]

Takes the searches in `--runs` where they are, trains them where not, and writes benchmarks/data/payoff_JOB.parquet, in
single precision, which is what torch answers: a study of the tables is one of the trainings, to the last digit.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pyarrow as pa
from record_table import store

sys.path.append(str(Path(__file__).parent / "studies"))

import _tables
from _frame import ROOT, Bench
from payoff import SIZES

SINGLE = ("loss", "test_loss")
TEXTS = ("configuration_id", "parameters", "phase")


def keep(bench: Bench, job: str) -> Path:
    """Write the table of a job and return its path."""
    size, described = SIZES[bench.size], _tables.jobs(bench.size)[job]
    n = size.n_search + size.n_held_out
    frame = bench.instances(job, described.workload, described.space, n, study="tables")
    frame = frame.sort_values(["configuration_id", "instance"], kind="stable")
    table = pa.table(
        {
            **{name: pa.array(frame[name]) for name in TEXTS},
            "instance": pa.array(frame["instance"], pa.int16()),
            "seed": pa.array(frame["seed"], pa.int64()),
            **{name: pa.array(frame[name], pa.float32()) for name in SINGLE},
            "seconds": pa.array(frame["seconds"]).cast(pa.float16()),
            "curve": pa.array(list(frame["curve"]), pa.list_(pa.float32())),
        }
    )
    told = {"name": f"payoff_{job}", "seed": 0, "workload": described.workload, "space": described.space}
    path = _tables.kept_file(job)
    store(table, told, TEXTS, path)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "studies", help="folder of the searches")
    bench = Bench("payoff", "small", parser.parse_args().runs, {"name": "local", "pack": 16})
    for job in SIZES["small"].jobs:
        path = keep(bench, job)
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
