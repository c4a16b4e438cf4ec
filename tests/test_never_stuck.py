"""No race waits for ever: what made one wait once, and what becomes of a rule that does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from races import Memory, drive, image, make_race, outcome, pool_of, result_of, trials

from raysearch import registry
from raysearch.driver.resume import resume
from raysearch.driver.search import search
from raysearch.errors import ExperimentError, StuckError
from raysearch.execution.local import Local
from raysearch.execution.race_runner import RaceRunner
from raysearch.race.race import Race
from raysearch.records import Configuration, InstanceKey, InstanceResult, Phase
from raysearch.rules import Decision
from raysearch.storage.events import Retry
from raysearch.tracking.silent import Silent
from raysearch.workloads.synthetic import Synthetic


@dataclass(frozen=True)
class Waits:
    """A rule that asks for one instance and then waits for ever."""

    def decide(self, losses: Any, pending: Any, criterion: Any) -> Decision:
        return Decision() if losses.size or pending.any() else Decision((0,))

    def plan(self, n_configurations: int) -> tuple[int, int]:
        return 1, 1


def waiting() -> RaceRunner:
    pool = [Configuration.of({"level": 0.2 + i}) for i in range(3)]
    race = Race(lambda outcomes: [] if outcomes else pool, registry.load("criteria", "mean"), Waits())
    return RaceRunner(race, Silent())


def test_a_rule_that_waits_for_ever_is_an_error_that_names_rule_and_state() -> None:
    with pytest.raises(StuckError, match=r"the rule .*Waits.* round 1, 3 of 3 configurations left") as error:
        Local().run(waiting(), Synthetic())
    assert "raysearch resume RUN_DIR --set rule=halving" in str(error.value)


def test_a_rule_that_waits_for_ever_is_an_error_on_ray_too(ray_cluster: None) -> None:
    from raysearch.execution.ray_tune import RayTune

    with pytest.raises(StuckError, match="asks for nothing and has no verdict"):
        RayTune().run(waiting(), Synthetic())


def test_top_two_goes_on_where_no_configuration_has_two_finite_losses() -> None:
    losses = np.random.default_rng(0).normal(1, 0.1, size=(12, 200))
    losses[np.argsort(losses[:, 0])[:8], 1] = np.nan  # the second instance of the eight best diverges
    race = make_race(losses, rule=("top_two", {"batch": 8, "budget": 92}), criterion="median")
    drive(race, losses)
    assert race.state.verdict.certified is False


def test_top_two_ends_without_a_certificate_where_nobody_ever_has_two_finite_losses() -> None:
    losses = np.full((3, 40), np.nan)
    losses[:, 0] = 1.0, 2.0, 3.0
    race = make_race(losses, rule=("top_two", {"certify": 3, "cap": 5, "batch": 4}), criterion="min")
    drive(race, losses)
    assert race.state.verdict.leader == 0
    assert "no configuration has two finite losses among 5 instances" in race.state.verdict.note


@pytest.mark.parametrize("rule", ["halving", "sequential_halving", "significance", "top_two", "exhaustive"])
def test_a_hole_in_an_early_column_is_trained_whatever_lies_behind_it(rule: str) -> None:
    arguments = {
        "sequential_halving": {"budget": 40},
        "top_two": {"certify": 3, "cap": 8},
        "exhaustive": {"n_instances": 12},
    }
    losses = np.random.default_rng(1).normal(size=(4, 12))
    losses[2, 0] = np.nan  # taken back, to be tried again
    decision = registry.load("rules", rule, **arguments.get(rule, {})).decide(
        losses, np.zeros(4, dtype=np.intp), registry.load("criteria", "mean")
    )
    assert decision.train == (2,)


def test_failures_that_are_taken_back_do_not_stop_the_race() -> None:
    losses, journal = np.random.default_rng(2).normal(size=(4, 40)), Memory()
    losses[0] -= 9  # the winner, whose first instance fails for good
    race = make_race(losses, rule=("halving", {"warmup": 3}), retries=0, journal=journal)
    first = race.state.seeds.seed(Phase.RACE, 0)
    drive(race, losses, fails=lambda key, attempt: key == InstanceKey(pool_of(1)[0].id, first))
    again = make_race(losses, rule=("halving", {"warmup": 3}), journal=journal)
    again.replay(journal.entries)
    assert sum(isinstance(event, Retry) for event in again.retry_failed()) == 1
    drive(again, losses)
    assert again.state.verdict.leader == 0
    assert again.done


def test_retry_failed_ends_on_the_local_executor_and_at_every_later_resume(tmp_path: Path) -> None:
    broken = [True]

    def train(config: dict[str, Any], seed: int) -> float:
        if broken[0] and config["x"] == 0:
            raise OSError("disk full")
        return float(config["x"]) + seed % 7 / 100

    settings: dict[str, Any] = {"execution": "local", "tracking": None, "progress": False, "retries": 0, "confirm": 2}
    search(
        train, space={"x": [0, 1, 2, 3]}, rule={"name": "halving", "warmup": 3}, run_dir=tmp_path / "run", **settings
    )
    broken[0] = False
    for _ in range(2):
        result = resume(tmp_path / "run", retry_failed=True, workload=train)
        assert result.verdict.winner.parameters == {"x": 0}


def test_a_batch_cut_short_is_completed_by_the_next_driver() -> None:
    losses = 1 + np.random.default_rng(3).normal(0, 0.05, size=(8, 200))
    setting: dict[str, Any] = {"rule": ("top_two", {"batch": 6, "budget": 70}), "criterion": "median"}
    calm = make_race(losses, **setting)
    drive(calm, losses)
    for n_asked in range(20, 50):
        journal = Memory()
        race, asked = make_race(losses, journal=journal, **setting), 0
        while asked < n_asked:  # a driver that dies after so many asks, in the middle of a batch or not
            answer = trials(race)
            asked += 1
            assert answer, "one worker never waits"
            race.tell(result_of(race, answer[0].keys[0], losses))
        race.ask(1)
        taken_over = make_race(losses, journal=journal, **setting)
        taken_over.replay(journal.entries)
        assert image(taken_over) == image(race)
        taken_over.requeue_running()
        drive(taken_over, losses, n_workers=3)
        assert outcome(taken_over)["losses"] == outcome(calm)["losses"]
        assert taken_over.state.verdict == calm.state.verdict


def test_instances_started_ahead_count_for_nothing_in_the_verdict_and_for_the_sampler() -> None:
    losses = np.random.default_rng(4).normal(size=(12, 60))
    every = pool_of(12)
    heard: dict[bool, list[Any]] = {False: [], True: []}

    def propose(outcomes: Any, ahead: bool) -> Any:
        heard[ahead].append([(o.configuration.id, o.losses) for o in outcomes])
        return every[len(outcomes) : len(outcomes) + 4]

    for ahead in (False, True):
        race = make_race(losses, propose=lambda outcomes, ahead=ahead: propose(outcomes, ahead), ahead=ahead)
        drive(race, losses, n_workers=8 if ahead else 1)
        assert race.state.wave == 3
    assert heard[True] == heard[False]


@pytest.mark.parametrize("rule", [{"name": "sequential_halving", "budget": 8}, {"name": "top_two", "budget": 8}])
def test_a_budget_of_one_wave_carries_through_all_waves(rule: dict[str, Any]) -> None:
    name, arguments = rule["name"], {"budget": rule["budget"]}
    losses = np.random.default_rng(5).normal(size=(24, 60))
    every = pool_of(24)
    race = make_race(losses, rule=(name, arguments), propose=lambda outcomes: every[len(outcomes) : len(outcomes) + 8])
    drive(race, losses)
    assert race.state.wave == 3
    assert race.state.counts["asked"] <= 8 + 8 + 8


def test_a_budget_below_the_first_wave_is_refused_before_anything_trains(tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match=r"rule: a budget of 3 instances cannot train 4 configurations once"):
        search(
            lambda config, seed: 1.0,
            space={"x": [1, 2, 3, 4]},
            rule={"name": "sequential_halving", "budget": 3},
            execution="local",
            tracking=None,
            progress=False,
            run_dir=tmp_path / "run",
        )
    assert not (tmp_path / "run").exists()


def test_a_first_instance_that_is_asked_for_again_has_cutoffs_as_any_other() -> None:
    from raysearch.race.screening import Screening

    losses, journal = np.random.default_rng(6).normal(size=(6, 40)), Memory()
    race = make_race(losses, journal=journal, screening=Screening(n_startup=2))
    for _ in range(3):
        (block,) = trials(race)
        result = result_of(race, block.keys[0], losses)
        race.tell(InstanceResult(result.key, result.loss, curve=(1.0, 1.0, 1.0, 1.0)))
    (block,) = trials(race)
    assert block.cutoffs
    after = make_race(losses, journal=journal, screening=Screening(n_startup=2))
    after.replay(journal.entries)
    after.requeue_running()
    (again,) = trials(after)
    assert again == block
    assert again.cutoffs == block.cutoffs


def test_the_round_of_a_race_is_the_same_live_and_from_its_journal() -> None:
    losses, journal = np.random.default_rng(7).normal(size=(6, 40)), Memory()
    race = make_race(losses, rule=("halving", {"warmup": 5}), journal=journal)
    race.ask(1)
    assert race.state.round == 5
    replayed = make_race(losses, rule=("halving", {"warmup": 5}))
    replayed.replay(journal.entries)
    assert replayed.state.round == 5


def test_who_lost_in_an_earlier_wave_is_no_survivor() -> None:
    losses = np.random.default_rng(8).normal(0, 0.01, size=(6, 60)) + np.arange(6)[:, None]
    every = pool_of(6)
    race = make_race(
        losses,
        rule=("top_two", {"certify": 3, "cap": 6, "batch": 4}),
        propose=lambda outcomes: every[len(outcomes) : len(outcomes) + 3],
    )
    drive(race, losses)
    assert race.state.wave == 2
    assert race.state.survivors.tolist() == [0, 3, 4, 5]
