"""A person takes configurations out of a race: it ends all the same, without them, and replays as it went."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from races import Memory, image, make_race, pool_of, result_of, trials

from raysearch.race.screening import Screening
from raysearch.race.verdict import verdict
from raysearch.records import Phase, TrialRequest
from raysearch.storage.events import Drop, Stop

RULES = {
    "halving": {"warmup": 2},
    "exhaustive": {"n_instances": 3},
    "significance": {"warmup": 2, "max_instances": 6},
    "significance of ranks": {"test": "mann_whitney", "warmup": 3, "max_instances": 6},
    "sequential_halving": {"budget": 60},
    "top_two": {"certify": 3, "cap": 10},
    "top_two at once": {"certify": 3, "cap": 10, "window": None},
    "top_two with a budget": {"certify": 3, "cap": 10, "window": 5, "budget": 30},
    "top_two in batches": {"certify": 3, "cap": 10, "batch": 4, "budget": 80},
    "surrogate": {"start": 8, "batch": 2, "finalists": 2, "certify": 3, "cap": 6},
    "top_two with cuts": {"certify": 3, "cap": 10, "keep": 3},
}


def setting_of(name):
    return name.split()[0], RULES[name]


@pytest.mark.parametrize(
    "rule", [rule if rule != "surrogate" else pytest.param(rule, marks=pytest.mark.long) for rule in RULES]
)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**32))
def test_it_never_wins_and_is_never_asked_for_again(rule, seed):
    g = np.random.default_rng(seed)
    n = int(g.integers(2, 12 if "surrogate" not in rule else 24))
    losses = 1 + 0.1 * g.normal(size=(n, 1)) + 0.1 * g.normal(size=(n, 80))
    losses[g.random(losses.shape) < g.choice([0.0, 0.3, 1.0])] = np.inf
    journal = Memory()
    own = {"criterion": "median", "confirm": 2, "ahead": seed % 2 == 0, "block": int(g.integers(1, 3))}
    own["screening"] = Screening(n_startup=2) if g.random() < 0.3 else None
    race = make_race(losses, rule=setting_of(rule), journal=journal, **own)
    running, dropped, n_workers = [], set(), int(g.integers(1, 5))
    for _ in range(5000):
        if g.random() < 0.05:  # the driver dies
            before, race = race, make_race(losses, rule=setting_of(rule), journal=journal, **own)
            race.replay(journal.entries)
            assert image(race) == image(before)
            race.requeue_running()
            running = []
        race.begin(n_workers)
        running += [key for block in trials(race, max(n_workers - len(running), 0)) for key in block.keys]
        assert not {key.configuration_id for key in running} & dropped
        if g.random() < 0.15:
            id_ = str(g.choice([configuration.id for configuration in pool_of(n)]))
            left = {pool_of(n)[row].id for row in race.state.survivors}
            events = race.drop(id_, "a hunch", "ada")
            if events:
                assert id_ in left
                assert isinstance(events[0], Drop)
                dropped.add(id_)
            ended = {event.key for event in events if isinstance(event, Stop)}
            running = [key for key in running if key not in ended]
            assert not {key.configuration_id for key in running} & dropped
        elif running:
            key = running.pop(int(g.integers(len(running))))
            screened = own["screening"] and race.state.seeds.index(key.seed) == (Phase.RACE, 0)
            if screened and g.random() < 0.3:
                events = race.screen_out(key, (1.0, 2.0), 1.5, 0.1, "")
            else:
                events = race.tell(result_of(race, key, losses))
            ended = {event.key for event in events if isinstance(event, Stop)}
            running = [key for key in running if key not in ended]
        if race.done:
            break
    assert race.done
    winner = pool_of(n)[race.state.verdict.leader].id
    assert winner not in dropped
    assert not {pool_of(n)[row].id for row in race.state.verdict.indistinguishable} & dropped
    out = [id_ for cut in race.state.eliminations for id_ in cut.configurations]
    assert len(out) == len(set(out)), "nobody is out twice"
    assert dropped <= set(out)
    for id_ in dropped:
        assert id_ in verdict(race, "median", 5).note
    if (budget := RULES[rule].get("budget")) is not None:
        n_trained = np.count_nonzero(~np.isnan(race.state.pool.losses))
        assert n_trained <= max(budget, n), "what was spent on who is out is spent"
    again = make_race(losses, rule=setting_of(rule), criterion="median", confirm=2)
    again.replay(journal.entries)
    assert image(again) == image(race)


@pytest.mark.parametrize("rule", RULES)
def test_who_is_dropped_before_anything_has_ended_might_never_have_been(rule):
    """For rules that look at all rows at once: the others race as they would alone."""
    losses = np.random.default_rng(4).normal(1, 0.1, (6, 80))
    race = make_race(losses, rule=setting_of(rule), criterion="median")
    (first, *_) = trials(race, 1)
    race.drop(pool_of(6)[2].id, "", "ada")
    n_of_dropped = 0
    running = [key for key in first.keys if race.state.awaited(key)]
    while not race.done:
        running += [key for block in trials(race, 2) for key in block.keys]
        n_of_dropped += sum(key.configuration_id == pool_of(6)[2].id for key in running)
        race.tell(result_of(race, running.pop(0), losses))
        running = [key for key in running if race.state.awaited(key)]
    assert n_of_dropped == 0
    (cut,) = (cut for cut in race.state.eliminations if cut.reason)
    assert cut.n_instances == 0
    assert np.isnan(cut.cutoff)
    assert cut.reason == "dropped by a person: no reason given (ada)"


def test_the_last_one_stays_and_an_ended_race_has_nobody_to_drop():
    losses = np.random.default_rng(4).normal(1, 0.1, (2, 80))
    race = make_race(losses, confirm=0)
    trials(race, 1)
    assert race.drop("nobody") == []
    assert race.drop(pool_of(2)[0].id)
    assert race.drop(pool_of(2)[0].id) == []
    assert race.drop(pool_of(2)[1].id) == []
    while not race.done:
        for event in race.ask(1):
            if isinstance(event, TrialRequest):
                race.tell(*[result_of(race, key, losses) for key in event.keys])
    assert race.state.verdict.leader == 1
    assert race.drop(pool_of(2)[1].id) == []


def test_a_dropped_configuration_stays_out_of_a_pool_that_is_opened_anew():
    losses = np.random.default_rng(4).normal(1, 0.1, (4, 80))
    race = make_race(losses, confirm=0)
    trials(race, 1)
    race.drop(pool_of(4)[0].id, "too large", "ada")
    race.reopen(whole_pool=True)
    assert race.state.survivors.tolist() == [1, 2, 3]
    assert [cut.reason for cut in race.state.eliminations] == ["dropped by a person: too large (ada)"]
