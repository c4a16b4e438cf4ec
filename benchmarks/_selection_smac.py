"""SMAC3's intensifier on recorded tables; runs in the environment of `make bench-peers`, without raysearch.

    python _selection_smac.py TABLES.npz ANSWERS.json BUDGET...

Every row is a configuration of one categorical parameter, all of them in the initial design, so that nothing but the
racing of seeds by the intensifier decides. Cost of a diverged instance: 1e6 (SMAC takes no infinity).
"""

import json
import logging
import sys

import numpy as np
from ConfigSpace import CategoricalHyperparameter, Configuration, ConfigurationSpace
from smac import HyperparameterOptimizationFacade as Facade
from smac import Scenario
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_model import RandomModel
from smac.runhistory import TrialValue


def play(losses, budgets, seed):
    """Return (setting, instances, row of the incumbent) at each budget."""
    n = len(losses)
    space = ConfigurationSpace(seed=seed)
    space.add(CategoricalHyperparameter("row", [str(row) for row in range(n)]))
    scenario = Scenario(space, deterministic=False, n_trials=max(budgets) + 1, seed=seed, output_directory="smac_out")
    rows = [Configuration(space, {"row": str(row)}) for row in range(n)]
    smac = Facade(
        scenario,
        lambda config, seed: 0.0,
        model=RandomModel(scenario.configspace),
        initial_design=Facade.get_initial_design(scenario, n_configs=0, additional_configs=rows),
        intensifier=Facade.get_intensifier(scenario, max_config_calls=losses.shape[1]),
        logging_level=logging.ERROR,
        overwrite=True,
    )
    columns, answers, used = {}, [], 0
    while used < max(budgets):
        try:
            info = smac.ask()
        except (ConfigurationSpaceExhaustedException, StopIteration):  # every row is rejected or intensified to its end
            break
        row = int(info.config["row"])
        column = columns.setdefault(info.seed, len(columns)) % losses.shape[1]
        loss = losses[row, column]
        smac.tell(info, TrialValue(cost=float(loss) if np.isfinite(loss) else 1e6), save=False)
        used += 1
        if used in budgets:
            answers.append((f"budget={used}", used, int(smac.intensifier.get_incumbent()["row"])))
    end = int(smac.intensifier.get_incumbent()["row"])
    return answers + [(f"budget={budget}", used, end) for budget in budgets if budget > used]


def main():
    tables, out, *budgets = sys.argv[1:]
    budgets = sorted(int(b) for b in budgets)
    archive = np.load(tables)
    found = [play(archive[name], budgets, seed) for seed, name in enumerate(archive.files)]
    with open(out, "w") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main()
