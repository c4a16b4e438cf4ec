"""When a search is ended because it cannot succeed: its workload is broken, or none of its workers can start."""

from __future__ import annotations

from raysearch.errors import WorkloadError
from raysearch.execution.steering import run_dir_of
from raysearch.race.race import Race
from raysearch.records import InstanceResult, Status

_INSTANCES = 5
"""So many failed instances, and no other, end a search: its workload is broken, not its configurations."""
_WORKERS = 3
"""So many workers that could not start, and none that could, end it."""


def broken_workload(race: Race, failed: InstanceResult, *, at_once: bool) -> WorkloadError | None:
    """Return why an instance that has `failed` for good ends the search, None where it does not; `at_once`: it does."""
    counts, key = race.state.counts, failed.key
    if at_once:
        fact = f"instance {key.seed} of configuration {key.configuration_id} failed {failed.attempt} times"
        return WorkloadError(f"{fact} (on_failure: raise). {_remedy(race)} Its last error:\n{failed.error}")
    if counts[Status.FAILED] == counts["told"] >= _INSTANCES:
        fact = f"all of the first {counts['told']} instances failed, each {failed.attempt} times"
        return WorkloadError(
            f"{fact}: the search is ended, nothing is lost. {_remedy(race)} The last error:\n{failed.error}"
        )
    return None


class Starts:
    """Whether workers come up at all: what they are sent may need a package or a file that their machines lack."""

    def __init__(self, race: Race) -> None:
        self._race, self._n_failed, self._any = race, 0, False

    def came_up(self) -> None:
        """Note that a worker said something."""
        self._any = True

    def failed(self, error: str) -> WorkloadError | None:
        """Note that a worker could not start; returns why that ends the search, None where others may start."""
        self._n_failed += 1
        if self._any or self._n_failed < _WORKERS:
            return None
        last = error.strip().rpartition("\n")[2]
        return WorkloadError(
            f"none of the first {self._n_failed} workers could start: {last}. What the workload imports or reads must "
            "be on every machine: install it there, or put its folder on PYTHONPATH before the cluster starts. "
            f"Nothing is lost: then `raysearch resume {_run_dir(self._race)}` goes on. The last error:\n{error}"
        )


def _remedy(race: Race) -> str:
    return f"Mend the cause, then `raysearch resume {_run_dir(race)} --retry-failed` trains them again."


def _run_dir(race: Race) -> str:
    return str(run_dir_of(race) or "RUN_DIR")
