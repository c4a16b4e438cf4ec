"""Whole searches in a deterministic world: no promise is broken, and the auditor would notice (tests/world)."""

from __future__ import annotations

from collections import Counter

import pytest
from world.crash_points import N_INSTANCES, all_steps, die_at, pairs
from world.planted import PLANTED
from world.soak import MIX, Soak
from world.world import World

N_WORLDS = 300
"""Of `make worlds` there are more."""
SEEN = (
    *("compared", "retry", "rule", "extend", "confirm", "killed drivers", "broken disks", "synced", "visitors"),
    *("asked to drop", "asked to pause"),
)
FOUND = {
    "a_skipped_fsync": 0,
    "a_torn_line_is_left": 5,
    "a_second_driver_gets_in": 12,
    "a_partial_write_is_taken_for_whole": 1,
    "a_double_tell": 0,
    "a_lost_stop": 1,
    "an_off_by_one_round": 0,
    "one_try_too_few": 0,
    "what_was_in_flight_is_forgotten": 8,
    "an_extra_try_after_a_crash": 21,
    "what_was_started_ahead_counts": 0,
    "a_batch_cut_short_is_not_completed": 237,
    "who_lost_in_an_earlier_wave_survives": 1,
    "an_earlier_winner_is_confirmed_for_the_new_one": 16,
    "a_stopped_column_is_left_out": 5,
    "the_worst_finalist_wins": 4,
    "a_budget_exceeded": 4,
    "the_better_half_is_cut": 8,
    "who_is_dropped_is_as_good_as_the_diverged": 264,
    "a_pause_is_not_heard": 174,
    "a_replayed_attempt_is_one_off": 0,
    "a_verdict_forgets_on_how_much_it_rests": 0,
    "a_named_rule_is_lost": 423,
    "failures_are_taken_back_before_the_pool_is_opened": 1289,
    "a_block_fails_as_a_whole": 8,
    "failed_in_plain_text_counts_at_once": 0,
    "a_swallowed_tracker_error": 112,
    "a_run_is_made_twice_when_an_answer_is_lost": 5,
    "a_half_written_run_is_taken_for_written": 144,
    "rounds_are_told_each_time_they_come": 91,
}
"""By planted bug, a seed whose world it breaks: the first, as `python -m tests.world --planted all` says."""


@pytest.fixture(scope="module", autouse=True)
def _mlflow_is_imported() -> None:
    import mlflow  # noqa: F401 - its import alone opens what a pure test may not


@pytest.mark.mlflow
def test_no_world_breaks_a_promise() -> None:
    told: Counter[str] = Counter()
    for seed in range(N_WORLDS):
        try:
            told += World(seed).run()
        except Exception as error:
            pytest.fail(f"world {seed}: {error!r}. `python -m tests.world --seed {seed} --verbose` tells its story")
    assert told["worlds"] == N_WORLDS
    for kind in SEEN:
        assert told[kind] > 2, f"hardly any {kind}"


@pytest.mark.mlflow
def test_a_seed_tells_the_same_story_twice() -> None:
    for seed in (10, 92, 134):
        stories: list[list[str]] = [[], []]
        for story in stories:
            World(seed, story.append).run()
        assert stories[0] == stories[1]
        assert len(stories[0]) > 10


@pytest.mark.mlflow
def test_a_long_search_in_which_things_break_all_the_time_decides_as_undisturbed() -> None:
    """A small `python -m tests.world --soak 100000`."""
    told = Soak(600, every=20, mix=dict.fromkeys(MIX, 1)).run()
    assert told["compared"] == told["synced"] == 1
    assert sum(told[what] for what in MIX) in (28, 29)
    assert told["killed drivers"] == told["the driver is killed"] > 1


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
@pytest.mark.parametrize("seed", sorted({seed for seed in FOUND.values() if seed >= N_WORLDS}))
def test_that_world_is_sound_without_the_bug(seed: int) -> None:
    World(seed).run()


def test_a_driver_may_die_at_any_append_and_so_may_the_next() -> None:
    """A part of `python -m tests.world --exhaustive`, which takes every step, and 1,000 pairs."""
    n_steps, calm = all_steps()
    assert n_steps > 4 * N_INSTANCES
    for step in range(0, n_steps, 16):
        assert die_at([step], calm)["killed drivers"] == 1
    for steps in pairs(12, n_steps):
        assert die_at(steps, calm)["killed drivers"] == 2
