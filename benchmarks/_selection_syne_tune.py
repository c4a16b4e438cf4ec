"""Syne Tune's ASHA on recorded tables, its resource being the number of instances and its metric their running mean.

    python _selection_syne_tune.py TABLES.npz ANSWERS.json BUDGET...

Runs in the environment of `make bench-peers`, without raysearch. Budgets are not used: ASHA has none; its ladder is
the grace period. The choice is the least mean among the rows that got furthest. Loss of a diverged instance: 1e6.
"""

import datetime
import json
import logging
import sys

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice
from syne_tune.optimizer.baselines import ASHA
from syne_tune.optimizer.scheduler import SchedulerDecision


def play(losses, grace_period, seed):
    """Return (setting, instances, row chosen) of one search over all rows, one worker."""
    n, n_most = len(losses), min(9 * grace_period, losses.shape[1])
    space = {"row": choice([str(row) for row in range(n)])}
    points = [{"row": str(row)} for row in range(n)]
    scheduler = ASHA(space, "mean", "n", n_most, random_seed=seed, grace_period=grace_period, points_to_evaluate=points)
    used, reached = 0, {}
    for number in range(n):
        trial = Trial(number, scheduler.suggest().config, datetime.datetime(2025, 1, 1))
        scheduler.on_trial_add(trial)
        row = int(trial.config["row"])
        seen = np.where(np.isfinite(losses[row]), losses[row], 1e6)
        for count in range(1, n_most + 1):
            used += 1
            reached[row] = (-count, float(seen[:count].mean()))
            decision = scheduler.on_trial_result(trial, {"mean": reached[row][1], "n": count})
            if decision == SchedulerDecision.STOP:
                break
    return f"grace={grace_period}", used, min(reached, key=reached.get)


def main():
    logging.disable(logging.WARNING)
    tables, out, *_ = sys.argv[1:]
    archive = np.load(tables)
    found = [[play(archive[name], grace, seed) for grace in (1, 2, 3, 5, 8)] for seed, name in enumerate(archive.files)]
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
