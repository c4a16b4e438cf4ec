"""What holds for every race, whatever its losses, rule, workers, crashes and the order in which results come."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from races import Memory, drive, image, make_race, once, outcome, pool_of, result_of, trials

from raysearch.records import Configuration, InstanceKey, Phase, Status
from raysearch.storage.events import Failure, Lost


@st.composite
def tables(draw):
    """Loss tables with many ties and some divergence, wide enough for every race here."""
    n = draw(st.integers(1, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    kind = draw(st.sampled_from(["plain", "coarse", "diverging"]))
    table = generator.normal(size=(n, 1)) + generator.normal(size=(n, 40))
    if kind == "coarse":
        return np.round(table)
    return np.where(generator.random(table.shape) < 0.2, np.nan, table) if kind == "diverging" else table


def races_by(*rules):
    return st.fixed_dictionaries(
        {
            "rule": st.one_of(*rules),
            "criterion": st.sampled_from(["mean", "q3", "std"]),
            "confirm": st.integers(0, 4),
            "block": st.integers(1, 3),
            "seed": st.integers(0, 2**40),
        }
    )


OF_FIXED_COST = (
    st.integers(1, 4).map(lambda k: ("halving", {"warmup": k})),
    st.integers(1, 4).map(lambda n: ("exhaustive", {"n_instances": n})),
)
BATCHES = st.integers(1, 9).map(lambda n: ("top_two", {"batch": n, "certify": 4, "cap": 12, "budget": 99}))
races = races_by(*OF_FIXED_COST, BATCHES)


def chooser(seed):
    generator = np.random.default_rng(seed)
    return lambda running: int(generator.integers(len(running)))


def crashes(key, attempt):
    """Some instances crash once, some every time; which ones is a property of the instance."""
    return attempt <= (0, 0, 0, 1, 9)[(int(key.configuration_id, 16) + key.seed) % 5]


@given(tables(), races, st.integers(1, 12), st.integers(0, 2**32))
def test_workers_and_order_of_results_change_nothing(losses, race, n_workers, seed):
    alone, many = make_race(losses, **race), make_race(losses, **race)
    keys = drive(alone, losses)
    assert set(keys) == set(drive(many, losses, n_workers=n_workers, choose=chooser(seed)))
    assert outcome(alone) == outcome(many)


@given(tables(), races, st.integers(1, 12), st.integers(0, 2**32))
def test_crashes_change_nothing_but_the_instances_that_always_crash(losses, race, n_workers, seed):
    alone, many = make_race(losses, retries=2, **race), make_race(losses, retries=2, **race)
    drive(alone, losses, fails=crashes)
    drive(many, losses, n_workers=n_workers, choose=chooser(seed), fails=crashes)
    assert outcome(alone) == outcome(many)
    assert alone.state.counts[Status.FAILED] == sum(n == 3 for n in alone.state.attempts.values())


@given(tables(), races, st.integers(1, 6), st.integers(0, 2**32), st.booleans())
def test_the_eliminated_are_never_asked_for_and_survivors_never_grow(losses, race, n_workers, seed, ahead):
    journal = Memory()
    drive(make_race(losses, journal=journal, ahead=ahead, **race), losses, n_workers=n_workers, choose=chooser(seed))
    out, asked = set(), set()
    for event in journal.events:
        if event["event"] == "eliminate":
            assert not out & set(event["configurations"]), "eliminated twice"
            out |= set(event["configurations"])
        if event["event"] == "ask":
            assert event["configuration"] not in out
            keys = {(event["configuration"], seed) for seed in event["seeds"]}
            assert not asked & keys, "asked for twice without a failure"
            asked |= keys


@given(tables(), races_by(*OF_FIXED_COST), st.integers(1, 6), st.integers(0, 2**32))
def test_the_budget_of_the_plan_is_met(losses, race, n_workers, seed):
    made = make_race(losses, **race)
    drive(made, losses, n_workers=n_workers, choose=chooser(seed))
    least, most = made.rule.plan(len(losses))
    assert least <= made.state.counts["asked"] - race["confirm"] <= most
    assert len(made.state.confirmation) == race["confirm"]


@given(tables(), races, st.integers(1, 6), st.integers(0, 2**32))
def test_starting_ahead_changes_no_decision(losses, race, n_workers, seed):
    patient, ahead = make_race(losses, **race), make_race(losses, ahead=True, **race)
    drive(patient, losses)
    drive(ahead, losses, n_workers=n_workers, choose=chooser(seed))
    assert outcome(patient)["eliminations"] == outcome(ahead)["eliminations"]
    assert outcome(patient)["winner"] == outcome(ahead)["winner"]


@given(st.integers(2, 7), st.integers(1, 3), st.integers(0, 2**32))
def test_nobody_is_started_more_than_one_instance_ahead_of_the_round(n, warmup, seed):
    losses = np.random.default_rng(seed).normal(size=(n, 40))
    made = make_race(losses, ahead=True, rule=("halving", {"warmup": warmup}))
    keys = [key for block in trials(made, 1000) for key in block.keys]  # more machines than work
    assert np.bincount([made.state.pool.rows[key.configuration_id] for key in keys]).max() <= warmup + 1
    for position in np.random.default_rng(seed).permutation(len(keys)):
        made.tell(result_of(made, keys[position], losses))
        made.ask(1000)
        assert made.state.pool.asked.max() <= made.state.round + 1


@settings(max_examples=100)
@given(tables(), races, st.integers(1, 4), st.integers(0, 2**32), st.booleans(), st.data())
def test_a_race_rebuilt_from_any_prefix_is_the_original_and_ends_like_it(losses, race, n_workers, seed, ahead, data):
    journal, images = Memory(), []
    original = make_race(losses, journal=journal, ahead=ahead, **race)
    original.listener = lambda event, time_s: images.append(image(original))
    drive(original, losses, n_workers=n_workers, choose=chooser(seed), fails=crashes)
    cut = data.draw(st.integers(0, len(journal.events)))
    rebuilt = make_race(losses, ahead=ahead, **race)
    rebuilt.replay(journal.entries[:cut])
    if cut:
        assert image(rebuilt) == images[cut - 1]
    lost = [event.key for event in rebuilt.requeue_running() if isinstance(event, Lost)]
    assert rebuilt.state.running == {}
    asked = drive(rebuilt, losses, n_workers=n_workers, choose=chooser(seed + 1), fails=crashes)
    assert outcome(rebuilt)["eliminations"] == outcome(original)["eliminations"]
    assert outcome(rebuilt)["winner"] == outcome(original)["winner"]
    assert outcome(rebuilt)["confirmation"] == outcome(original)["confirmation"]
    ended = {InstanceKey(e["configuration"], e["seed"]) for e in journal.events[:cut] if e["event"] == "tell"}
    assert not ended & set(asked), "an instance that had ended was trained again"
    assert set(lost) <= set(asked) | {key for key in lost if rebuilt.state.obsolete(key)}
    if not ahead:
        assert outcome(rebuilt)["losses"] == outcome(original)["losses"]


@given(tables(), races)
def test_a_result_counts_once(losses, race):
    made = make_race(losses, **race)
    block = trials(made)[0]
    result = result_of(made, block.keys[0], losses)
    assert made.tell(result)
    before = image(made)
    assert not made.tell(result)
    assert not made.stop(result.key)
    assert not made.fail(result.key, "late")
    assert image(made) == before


@given(st.integers(2, 12), st.integers(0, 2**32))
def test_ties_go_to_the_configuration_that_comes_first(n, seed):
    made = make_race(np.ones((n, 40)))
    drive(made, np.ones((n, 40)), n_workers=3, choose=chooser(seed))
    assert made.state.verdict.leader == 0
    assert made.state.eliminations[0].configurations[0] == made.state.pool.configurations[n // 2].id


@given(st.integers(0, 2**63 - 1), st.integers(0, 10_000), st.integers(0, 10_000))
def test_seeds_are_different_and_known_again(search_seed, first, second):
    seeds = make_race(np.ones((1, 1)), seed=search_seed).state.seeds
    for phase in Phase:
        assert seeds.index(seeds.seed(phase, first)) == (phase, first)
        assert 0 <= seeds.seed(phase, first) < 2**32
    assert seeds.seed(Phase.RACE, first) != seeds.seed(Phase.CONFIRMATION, second)


def test_instances_are_paired_across_configurations():
    made = make_race(np.ones((3, 40)))
    blocks = trials(made, 6)
    by_configuration = {}
    for block in blocks:
        by_configuration.setdefault(block.configuration.id, []).extend(block.seeds)
    assert len({tuple(seeds) for seeds in by_configuration.values()}) == 1
    assert trials(made) == []
    assert not made.done


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        make_race(np.ones((1, 1)), seed=-1)


def test_a_failure_is_tried_again_and_then_counts_as_infinite():
    losses, journal = np.ones((2, 40)), Memory()
    made = make_race(losses, retries=1, journal=journal)
    (block,) = trials(made)
    assert made.fail(block.keys[0], "boom") == [Failure(block.keys[0], 1, "boom")]
    (again,) = trials(made)
    assert again == block
    _, told, *_ = made.fail(block.keys[0], "boom again", "node-1")
    failed = told.result
    assert (failed.status, failed.loss, failed.error, failed.attempt) == (Status.FAILED, math.inf, "boom again", 2)
    assert [e["attempt"] for e in journal.events if e["event"] == "failure"] == [1, 2]
    assert made.state.pool.losses[0, 0] == math.inf


def test_nothing_happens_before_the_journal_has_it():
    class Full:
        def append(self, event, time_s):
            raise OSError("disk full")

    made = make_race(np.ones((2, 40)), journal=Full())
    with pytest.raises(OSError, match="disk full"):
        made.ask(1)
    assert image(made) == image(make_race(np.ones((2, 40))))


def test_a_sampler_that_goes_on_after_the_first_wave_is_heard():
    losses, every = np.random.default_rng(3).normal(size=(9, 40)), pool_of(9)
    made = make_race(losses, propose=lambda outcomes: every[len(outcomes) : len(outcomes) + 3])
    drive(made, losses, n_workers=2)
    assert made.state.wave == 3
    assert made.state.final
    assert len(made.state.pool.configurations) == 9


def test_known_configurations_are_left_out_of_a_proposal():
    every = pool_of(3)
    made = make_race(np.ones((3, 40)), propose=once([*every, *every, Configuration.of({"x": 0})]))
    made.ask(1)
    assert len(made.state.pool.configurations) == 3
