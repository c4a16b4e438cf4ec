"""Four experiments on stable training losses and on measures, one process, no GPU.

    OMP_NUM_THREADS=1 python benchmarks/methods.py             # all, about 15 minutes of a quiet core
    OMP_NUM_THREADS=1 python benchmarks/methods.py clf --scale 0.2

1 `clf`: CLF against the plain loss. 2 `instability`: label entropy, churn and the share of an ensemble's gain.
3 `synaptic`: scores over epochs and selective backpropagation. 4 `forecast`: which number of one instance foretells
the criterion over many.
"""

from __future__ import annotations

import argparse
import os
import platform
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from _methods_bench import timed
from _methods_losses import clf, instability
from _methods_measures import forecast, synaptic

EXPERIMENTS = {"synaptic": synaptic, "instability": instability, "forecast": forecast, "clf": clf}
JOBS = ("digits", "longer", "calorimeter")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", choices=[[], *EXPERIMENTS], help="all unless named")
    parser.add_argument(
        "--jobs", nargs="+", choices=JOBS, default=JOBS, help="`longer`: digits, 60 epochs, instability"
    )
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of seeds and configurations")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, {platform.machine()}, one thread, scale {arguments.scale:g}")
    for name in arguments.experiments or EXPERIMENTS:
        timed(name, partial(EXPERIMENTS[name], arguments.scale, arguments.jobs))


if __name__ == "__main__":
    main()
