"""A search as MLflow shows it when it is told of something twice, and differently the second time."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

from mlflow_image import runs_of

from raysearch.records import InstanceKey, InstanceResult, Phase, Status
from raysearch.rules import Elimination
from raysearch.tracking.mlflow import Mlflow


def test_every_configuration_that_is_left_is_a_survivor_whatever_it_was_before(
    make_race: Any, make_store: Any, tmp_path: Path
) -> None:
    uri, race = make_store(tmp_path), make_race(n=4, confirm=1)
    first = race.run(Mlflow(uri=uri), tmp_path)
    left = tuple(configuration.id for configuration in race.configurations if configuration.id != first.winner.id)[:2]
    for _ in range(2):
        tracker = Mlflow(uri=uri)
        tracker.open({"name": "small"}, tmp_path)
        tracker.finished(dataclasses.replace(first, survivors=(first.winner.id, *left)), {}, None)
        tracker.close()
        runs = runs_of(tmp_path)["configuration"]
        status = {run.data.params["configuration"]: run.data.tags["status"] for run in runs}
        assert status.pop(first.winner.id) == "winner"
        assert {id_ for id_, shown in status.items() if shown == "survivor"} == set(left)
        assert {shown for id_, shown in status.items() if id_ not in left} == {"eliminated"}


def test_an_instance_that_fails_again_shows_its_last_error(make_race: Any, make_store: Any, tmp_path: Path) -> None:
    uri, configuration = make_store(tmp_path), make_race().configurations[0]
    key = InstanceKey(configuration.id, 7)
    for error in ("OSError: no disk", "OSError: no disk", "ValueError: bad shape"):
        tracker = Mlflow(uri=uri)
        tracker.open({"name": "small"}, tmp_path)
        tracker.told(configuration, InstanceResult(key, math.inf, Status.FAILED, error=f"...\n{error}\n"), Phase.RACE)
        tracker.close()
        assert tracker.n_lost == 0
        found = runs_of(tmp_path)
        (run,) = found["instance"]
        assert (run.info.status, run.data.tags["error"]) == ("FAILED", error)
        assert error in Path(found["client"].download_artifacts(run.info.run_id, "error.txt")).read_text()


def test_the_numbers_of_a_cut_stay_where_a_person_drops_who_was_cut_before(  # worlds 1926 and 9787
    make_race: Any, make_store: Any, tmp_path: Path
) -> None:
    uri, configuration = make_store(tmp_path), make_race().configurations[0]
    cut = Elimination(3, 1.4, 3, (configuration.id,), (1.55,))
    dropped = Elimination(5, math.nan, 6, (configuration.id,), (1.6,), "dropped by a person: too large (ada)")
    for _ in range(2):
        tracker = Mlflow(uri=uri)
        tracker.open({"name": "small"}, tmp_path)
        for one in (cut, dropped):
            tracker.eliminated([configuration], one)
        tracker.close()
        found = runs_of(tmp_path)
        (run,) = found["configuration"]
        assert run.data.tags["dropped"] == dropped.reason
        for name, value in {"cutoff": 1.4, "round": 3, "criterion_at_cut": 1.55}.items():
            points = found["client"].get_metric_history(run.info.run_id, name)
            assert [point.value for point in points] == [value], "told twice, it gains no point"
