"""A finished race that goes on: more confirmation, more configurations, another rule."""

import numpy as np
from races import Memory, drive, image, make_race, pool_of, result_of, trials

from raysearch.race.screening import Screening
from raysearch.records import Phase


def rebuild(journal, losses, **race):
    made = make_race(losses, journal=journal, **race)
    made.replay(journal.entries)
    made.requeue_running()
    return made


def test_more_confirmation_trains_only_what_is_new():
    losses, journal = np.random.default_rng(0).normal(size=(4, 40)), Memory()
    drive(make_race(losses, journal=journal, confirm=2), losses)
    more = rebuild(journal, losses, confirm=5)
    asked = drive(more, losses, n_workers=2)
    assert [more.state.seeds.index(key.seed) for key in asked] == [(Phase.CONFIRMATION, i) for i in (2, 3, 4)]
    assert trials(more) == []
    assert more.done


def test_more_configurations_race_against_the_winner():
    losses, journal = np.random.default_rng(1).normal(size=(8, 40)), Memory()
    drive(make_race(losses[:4], journal=journal, confirm=2), losses)
    every = pool_of(8)
    more = rebuild(journal, losses, confirm=2, propose=lambda outcomes: every[len(outcomes) :])
    winner = more.state.verdict.leader
    more.reopen(whole_pool=False)
    asked = drive(more, losses, n_workers=3)
    racing = {more.state.pool.rows[key.configuration_id] for key in asked}
    assert {4, 5, 6, 7} <= racing <= {winner, 4, 5, 6, 7}
    assert more.done
    assert len(more.state.confirmation) == 2
    drive(rebuild(journal, losses, confirm=2), losses)  # and the longer journal rebuilds as well


def test_a_winner_that_returns_gets_the_confirmation_that_was_broken_off():
    losses, journal = np.random.default_rng(4).normal(size=(8, 40)), Memory()
    losses[2] -= 9  # wins the first wave, and again against the second
    first = make_race(losses[:4], journal=journal, confirm=4)
    running = []
    while len(running) < 4:  # until nothing but confirmation is in flight
        keys = [key for block in trials(first) for key in block.keys]
        running += [key for key in keys if first.state.phase(key) is Phase.CONFIRMATION]
        for key in keys:
            if key not in running:
                first.tell(result_of(first, key, losses))
    first.tell(result_of(first, running[1], losses))
    every = pool_of(8)
    more = rebuild(journal, losses, confirm=4, propose=lambda outcomes: every[len(outcomes) :])
    more.reopen(whole_pool=False)
    asked = drive(more, losses, n_workers=2)
    assert more.done
    indices = [more.state.seeds.index(key.seed)[1] for key in asked if more.state.phase(key) is Phase.CONFIRMATION]
    assert sorted(indices) == [0, 2, 3]
    assert image(rebuild(journal, losses, confirm=4)) == image(more)


def test_another_rule_decides_anew_on_what_is_there():
    losses, journal = np.random.default_rng(2).normal(size=(6, 40)), Memory()
    drive(make_race(losses, journal=journal, rule=("halving", {"warmup": 2})), losses)
    n = sum(event["event"] == "tell" for event in journal.events)
    more = rebuild(journal, losses, rule=("exhaustive", {"n_instances": 6}))
    more.reopen(whole_pool=True)
    asked = drive(more, losses)
    assert n + len(asked) == 36
    assert more.state.verdict.leader == int(np.argmin(losses[:, :6].mean(axis=1)))


def test_who_was_screened_out_stays_out_when_the_race_is_opened_again():
    losses, journal = np.random.default_rng(5).normal(size=(6, 40)), Memory()
    made = make_race(losses, journal=journal, screening=Screening())
    (block,) = trials(made)
    made.screen_out(block.keys[0], [9.0], 1.0, 0.1, "")
    drive(made, losses)
    more = rebuild(journal, losses, rule=("exhaustive", {"n_instances": 4}))
    more.reopen(whole_pool=True)
    assert block.configuration.id not in {key.configuration_id for key in drive(more, losses)}
    assert [cut.configurations for cut in more.state.eliminations if cut.n_instances == 0] == [
        (block.configuration.id,)
    ]
    assert more.state.pool.outcomes()[0].eliminated
    assert image(rebuild(journal, losses, rule=("exhaustive", {"n_instances": 4}))) == image(more)


def test_a_pool_of_nothing_but_screened_out_configurations_races_again():
    losses, journal = np.ones((1, 40)), Memory()
    made = make_race(losses, journal=journal)
    (block,) = trials(made)
    (key,) = block.keys
    names = {"configuration": key.configuration_id, "seed": key.seed}
    journal.write({"event": "screen", **names, "cutoff": 1.0, "curve": [9.0]})  # an earlier release might have
    made = rebuild(journal, losses)
    made.reopen(whole_pool=True)
    drive(made, losses)
    assert made.state.eliminations == []
    assert made.state.verdict.leader == 0
