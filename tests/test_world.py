"""Whole searches in a deterministic world: no promise is broken, and the auditor would notice (tests/world)."""

from __future__ import annotations

from collections import Counter

import pytest
from world.crash_points import N_INSTANCES, all_steps, die_at, pairs
from world.planted import PLANTED
from world.world import World

N_WORLDS = 1000
SEEN = ("compared", "retry", "rule", "extend", "confirm", "killed drivers", "broken disks", "synced", "visitors")
FOUND = {
    "a_skipped_fsync": 0,
    "a_torn_line_is_left": 0,
    "a_second_driver_gets_in": 6,
    "a_partial_write_is_taken_for_whole": 0,
    "a_double_tell": 2,
    "a_lost_stop": 23,
    "an_off_by_one_round": 0,
    "one_try_too_few": 0,
    "what_was_in_flight_is_forgotten": 0,
    "an_extra_try_after_a_crash": 13,
    "what_was_started_ahead_counts": 5,
    "a_batch_cut_short_is_not_completed": 242,
    "who_lost_in_an_earlier_wave_survives": 16,
    "an_earlier_winner_is_confirmed_for_the_new_one": 0,
    "a_stopped_column_is_left_out": 2,
    "a_budget_exceeded": 0,
    "the_better_half_is_cut": 6,
    "a_replayed_attempt_is_one_off": 0,
    "a_verdict_forgets_on_how_much_it_rests": 0,
    "a_named_rule_is_lost": 134,
    "failures_are_taken_back_before_the_pool_is_opened": 1367,
    "a_block_fails_as_a_whole": 41,
    "failed_in_plain_text_counts_at_once": 4,
    "a_swallowed_tracker_error": 10,
    "a_run_is_made_twice_when_an_answer_is_lost": 10,
    "a_half_written_run_is_taken_for_written": 185,
    "rounds_are_told_each_time_they_come": 15,
}
"""By planted bug, a seed whose world it breaks: the first, as `python -m tests.world --planted all` says."""


@pytest.fixture(scope="module", autouse=True)
def _mlflow_is_imported() -> None:
    import mlflow  # noqa: F401 - its import alone opens what a pure test may not


@pytest.mark.mlflow
@pytest.mark.parametrize("first", range(0, N_WORLDS, 250))
def test_no_world_breaks_a_promise(first: int) -> None:
    told: Counter[str] = Counter()
    for seed in range(first, first + 250):
        try:
            told += World(seed).run()
        except Exception as error:
            pytest.fail(f"world {seed}: {error!r}. `python -m tests.world --seed {seed} --verbose` tells its story")
    assert told["worlds"] == 250
    for kind in SEEN:
        assert told[kind] > 5, f"hardly any {kind}"


@pytest.mark.mlflow
def test_a_seed_tells_the_same_story_twice() -> None:
    for seed in (10, 92, 134):
        stories: list[list[str]] = [[], []]
        for story in stories:
            World(seed, story.append).run()
        assert stories[0] == stories[1]
        assert len(stories[0]) > 20


@pytest.fixture
def planted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    PLANTED[request.param](monkeypatch.setattr)
    name: str = request.param
    return name


def test_every_planted_bug_has_a_world_that_finds_it() -> None:
    assert FOUND.keys() == PLANTED.keys()
    assert len(FOUND) >= 20
    assert max(FOUND.values()) < 10_000


@pytest.mark.mlflow
@pytest.mark.parametrize("planted", FOUND, indirect=True)
def test_a_planted_bug_is_found(planted: str) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - a broken promise, or whatever the bug makes of the product
        World(FOUND[planted]).run()


@pytest.mark.mlflow
@pytest.mark.parametrize("planted", FOUND)
def test_that_world_is_sound_without_the_bug(planted: str) -> None:
    World(FOUND[planted]).run()


def test_a_driver_may_die_at_any_append_and_so_may_the_next() -> None:
    """A part of `python -m tests.world --exhaustive`, which takes every step, and 1,000 pairs."""
    n_steps, calm = all_steps()
    assert n_steps > 4 * N_INSTANCES
    for step in range(0, n_steps, 5):
        assert die_at([step], calm)["killed drivers"] == 1
    for steps in pairs(40, n_steps):
        assert die_at(steps, calm)["killed drivers"] == 2
