"""All studies, one after another; each goes on where it broke off.

    python benchmarks/studies/all.py --size full        a day and more on two cores; give it a cluster by RAY_ADDRESS
    python benchmarks/studies/all.py --quick            minutes; shows that everything runs

Pages and figures go to docs/studies (those of --quick to runs/studies/quick).
"""

from __future__ import annotations

import importlib
import sys

STUDIES = (
    "sample_size",
    "randomness",
    "preselection",
    "inductive_bias",
    "against_nas",
    "six_criteria",
    "to_confidence",
    "foretelling",
    "payoff",
    "other_methods",
    "selective",
    "synaptic",
)


def main() -> None:
    from _frame import main as carry_out

    for name in STUDIES:
        module = importlib.import_module(name)
        carry_out(module.NAME, __doc__ or "", module.SIZES, module.study, sys.argv[1:])


if __name__ == "__main__":
    main()
