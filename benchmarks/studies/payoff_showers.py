"""Study 5 on showers alone: does robust selection pay where a network learns the energy?

    python benchmarks/studies/payoff_showers.py [--size quick|small|full]

Tuners, budget and judging are those of payoff.py, which has the other jobs; both share their trainings and searches.
"""

from __future__ import annotations

from dataclasses import replace

import payoff
from _frame import Bench, main
from _page import Page
from _tables import Size

NAME = "payoff_showers"
SIZES = {name: replace(size, jobs=("showers",)) for name, size in payoff.SIZES.items()}


def study(bench: Bench, size: Size) -> Page:
    return payoff.study(bench, size)


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
