"""The statistics every view shows of one set of losses."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from raysearch.criteria import Criterion
from raysearch.criteria._statistics import as_losses, mean, of_sorted
from raysearch.criteria.std import Std
from raysearch.records import Summary


def summarize(losses: ArrayLike, criterion: Criterion) -> Summary:
    """Return the statistics of `losses` `(n_instances,)`; NaN = not run, +inf = diverged or failed, counted as such."""
    run = as_losses(losses)
    run = run[~np.isnan(run)]
    in_order = np.sort(run).tolist()
    q1, q3 = of_sorted(in_order, 0.25), of_sorted(in_order, 0.75)
    return Summary(
        n_instances=len(run),
        criterion=float(criterion(run)),
        median=of_sorted(in_order, 0.5),
        q3=q3,
        iqr=float("inf") if q3 == float("inf") else q3 - q1,
        max=of_sorted(in_order, 1.0),
        mean=float(mean(run)),
        std=float(Std()(run)),
    )
