"""raysearch finds robust deep-learning configurations: many instances each, judged by a robust statistic.

Names are handed on when they are asked for, so that `import raysearch` loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Experiment": "experiment",
    "from_file": "experiment",
    "load": "driver.run",
    "plan": "driver.run",
    "run": "driver.run",
    "search": "driver.search",
    "SearchResult": "driver.run",
    "RaysearchError": "errors",
    "resume": "driver.resume",
    "Race": "race",
    "Configuration": "records",
    "RaceRunner": "execution.race_runner",
    "Conductor": "execution.race_runner",
    "Silent": "tracking.silent",
    "RaceSearcher": "execution.ray_searcher",
    "RaceScheduler": "execution.ray_scheduler",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    """Import the module that holds `name`, once it is wanted."""
    if name not in _HOME:
        raise AttributeError(f"module 'raysearch' has no attribute {name!r}; it has {', '.join(sorted(_HOME))}")
    return getattr(import_module(f"raysearch.{_HOME[name]}"), name)
