"""The asking half of a race in Tune, where no cluster is needed."""

import pytest
from races import make_race
from ray import cloudpickle

from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.tracking.silent import Silent


def test_a_tuner_that_is_restored_says_what_goes_on_instead() -> None:
    searcher = RaceSearcher(RaceRunner(make_race([[1.0], [2.0]]), Silent()), metric="loss")
    pickled = cloudpickle.dumps(searcher)  # as a Tuner does when it starts
    with pytest.raises(NotImplementedError, match=r"restored from its journal: use `raysearch resume RUN_DIR`"):
        cloudpickle.loads(pickled)
