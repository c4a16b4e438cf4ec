"""Syne Tune's PASHA on recorded tables, its resource being the number of instances and its metric their running mean.

    python _selection_pasha.py TABLES.npz ANSWERS.json BUDGET...

Runs in the environment of `make bench-peers`, without raysearch. Budgets are not used: PASHA raises its own
greatest number of instances as long as its two highest rungs disagree. The choice is the least mean among the rows that
got furthest. Loss of a diverged instance: 1e6. Syne Tune had it until 0.14, which lies in a folder of its own there.
"""

import datetime
import json
import logging
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(sys.prefix) / "pasha"))
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import choice
from syne_tune.optimizer.legacy_baselines import PASHA
from syne_tune.optimizer.scheduler import SchedulerDecision

DATE = datetime.datetime(2025, 1, 1)


def play(losses, grace_period, seed):
    """Return (setting, instances, row chosen) of one search over all rows, one worker."""
    n, n_most = len(losses), min(27 * grace_period, losses.shape[1])
    seen = np.where(np.isfinite(losses), losses, 1e6)
    scheduler = PASHA(
        {"row": choice([str(row) for row in range(n)]), "n_most": n_most},
        metric="mean",
        resource_attr="n",
        max_resource_attr="n_most",
        mode="min",
        grace_period=grace_period,
        random_seed=seed,
        points_to_evaluate=[{"row": str(row)} for row in range(n)],
    )
    trials, counts = {}, {}
    while True:
        suggestion = scheduler.suggest(len(trials))
        if suggestion is None or (suggestion.spawn_new_trial_id and len(trials) == n):
            break
        number = len(trials) if suggestion.spawn_new_trial_id else suggestion.checkpoint_trial_id
        config = suggestion.config or trials[number].config
        trial = trials[number] = Trial(number, config, DATE)
        if suggestion.spawn_new_trial_id:
            scheduler.on_trial_add(trial)
        decision, row = SchedulerDecision.CONTINUE, int(config["row"])
        while decision == SchedulerDecision.CONTINUE and counts.get(row, 0) < config["n_most"]:
            counts[row] = counts.get(row, 0) + 1
            result = {"n": counts[row], "mean": float(seen[row, : counts[row]].mean())}
            decision = scheduler.on_trial_result(trial, result)
        if decision == SchedulerDecision.CONTINUE and counts[row] >= n_most:
            scheduler.on_trial_complete(trial, result)
    chosen = min(counts, key=lambda row: (-counts[row], seen[row, : counts[row]].mean()))
    return f"grace={grace_period}", sum(counts.values()), chosen


def main():
    logging.disable(logging.WARNING)
    tables, out, *_ = sys.argv[1:]
    archive = np.load(tables)
    found = [[play(archive[name], grace, seed) for grace in (1, 2, 3, 5)] for seed, name in enumerate(archive.files)]
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
