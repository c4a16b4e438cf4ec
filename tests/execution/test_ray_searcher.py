"""The two halves of a race in a Tuner of the user's own."""

import sys

import pytest
from races import make_race
from ray import cloudpickle, tune
from ray.tune import Trainable

from raysearch.execution.race_runner import RaceRunner
from raysearch.execution.ray_scheduler import RaceScheduler
from raysearch.execution.ray_searcher import RaceSearcher
from raysearch.tracking.silent import Silent


def test_a_tuner_that_is_restored_says_what_goes_on_instead() -> None:
    searcher = RaceSearcher(RaceRunner(make_race([[1.0], [2.0]]), Silent()), metric="loss")
    pickled = cloudpickle.dumps(searcher)  # as a Tuner does when it starts
    with pytest.raises(NotImplementedError, match=r"restored from its journal: use `raysearch resume RUN_DIR`"):
        cloudpickle.loads(pickled)


class TooNarrow(Trainable):
    """A user's own, which refuses some configurations before it trains."""

    def setup(self, config):
        if config["x"] < 3:
            raise ValueError(f"{config['x']} is too narrow")

    def step(self):
        return {"loss": float(self.config["x"]), "done": True}

    def save_checkpoint(self, checkpoint_dir): ...


@pytest.mark.ray
@pytest.mark.usefixtures("ray_cluster")
def test_a_trainable_of_a_user_may_refuse_configurations_as_it_is_made(tmp_path):
    race = make_race([[0.0] * 2] * 5, rule=("exhaustive", {"n_instances": 2}), retries=0, confirm=0)
    searcher = RaceSearcher(RaceRunner(race, Silent()), metric="loss")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import a test module
    tune.Tuner(
        TooNarrow,
        tune_config=tune.TuneConfig(search_alg=searcher, scheduler=RaceScheduler(searcher), num_samples=-1),
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert searcher.runner.failure is None
    assert race.done
    assert race.state.winner == 3
    assert race.state.counts["FAILED"] == 6
