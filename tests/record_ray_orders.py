"""Records in what order Ray Tune calls the searcher and the scheduler: `python tests/record_ray_orders.py`.

Small searches on a real cluster, with what may happen to a trial; written to tests/data/ray_orders.json, for
tests/execution/test_ray_orders.py, which calls them in such orders, permuted and faulty, without any cluster.
"""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import ray

from raysearch.driver.run import run
from raysearch.execution.ray_scheduler import RaceScheduler
from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.experiment.experiment import from_data

FILE = Path(__file__).parent / "data" / "ray_orders.json"
SEARCH = {
    "name": "orders",
    "seed": 3,
    "workload": {"name": "synthetic", "epochs": 4, "seconds": 0.1},
    "space": {"level": [0.1, 0.2, 0.3, 0.4], "spread": [0.01, 0.02]},
    "criterion": "mean",
    "rule": {"name": "halving", "warmup": 2},
    "race": {"confirm": 1, "retries": 1},
    "execution": {"name": "ray_tune", "local_cpus": 2, "heartbeat_s": 0.1},
    "tracking": None,
}
SCENARIOS: dict[str, dict[str, Any]] = {
    "undisturbed": {},
    "packs of seeds": {"race": {"confirm": 1, "block": 2}},
    "obsolete": {
        "workload": {"name": "synthetic", "epochs": 8, "seconds": 0.8},
        "rule": {"name": "halving", "warmup": 1},
        "race": {"confirm": 0, "ahead": True},
    },
    "raised": {"workload": {"name": "synthetic", "epochs": 4, "seconds": 0.1, "fail": 0.3, "failure": "raise"}},
    "killed": {"workload": {"name": "synthetic", "epochs": 4, "seconds": 0.8, "fail": 0.3, "failure": "kill"}},
}


def record(order: list[Any]) -> None:
    """Have every call noted: who is called, by what trial's number, and what it says."""
    numbers: dict[str, int] = {}

    def number(trial: Any) -> int:
        return numbers.setdefault(getattr(trial, "trial_id", trial), len(numbers))

    def note(cls: Any, name: str, of: int) -> None:
        original = getattr(cls, name)

        def noted(self: Any, *arguments: Any, **more: Any) -> Any:
            answer = original(self, *arguments, **more)
            trial = arguments[of] if len(arguments) > of else more.get("trial_id", more.get("trial"))
            if name != "suggest":
                said = {"error": True} if more.get("error") else {}
                order.append([f"{cls.__name__}.{name}", number(trial), said])
            elif isinstance(answer, dict):
                order.append([f"{cls.__name__}.{name}", number(trial), {}])
            return answer

        setattr(cls, name, noted)

    for name in ("suggest", "on_trial_result", "on_trial_complete"):
        note(RaceSearcher, name, 0)
    for name in ("on_trial_add", "on_trial_result", "on_trial_complete", "on_trial_error", "on_trial_remove"):
        note(RaceScheduler, name, 1)


def main() -> None:
    """Record every scenario."""
    logging.disable(logging.ERROR)
    order: list[Any] = []
    record(order)
    orders = {}
    with tempfile.TemporaryDirectory() as folder:
        for n, (name, settings) in enumerate(SCENARIOS.items()):
            order.clear()
            run(from_data({**SEARCH, **settings}), Path(folder) / str(n))
            orders[name] = [call for n, call in enumerate(order) if call not in order[max(n - 12, 0) : n]]
            print(name, len(order), flush=True)
    lines = [f'"{name}": {json.dumps(one)}' for name, one in orders.items()]
    FILE.write_text(f'{{"ray": "{ray.__version__}", "orders": {{\n' + ",\n".join(lines) + "\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
