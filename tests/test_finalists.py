"""Finalists: confirmed on the same fresh seeds, told from the best at a stated error rate, the best of them wins."""

import math

import numpy as np
import pytest
from races import Memory, drive, image, make_race, pool_of, trials

from raysearch import registry
from raysearch.driver.run import plan
from raysearch.errors import ExperimentError
from raysearch.experiment.experiment import from_data
from raysearch.race.separation import ALPHA, looks, p_values
from raysearch.race.verdict import verdict
from raysearch.records import InstanceKey, Phase
from raysearch.storage.events import Confirm, Finalists, Separate

RULES = {
    "halving": ("halving", {"warmup": 2}),
    "sequential_halving": ("sequential_halving", {"budget": 60}),
    "top_two": ("top_two", {"certify": 4, "cap": 12, "window": 4}),
    "significance": ("significance", {"warmup": 3, "max_instances": 6}),
    "exhaustive": ("exhaustive", {"n_instances": 3}),
}


def losses_of(n=12, seed=0):
    """Half of them look better in the race than they are: the first 40 columns are its, the last 60 are fresh."""
    g = np.random.default_rng(seed)
    losses = 1 + 0.05 * np.arange(n)[:, None] + g.normal(0, 0.05, (n, 160))
    losses[: n // 2, 100:] += 1
    return losses


def told(journal, kind):
    return [entry.event for entry in journal.entries if isinstance(entry.event, kind)]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_best_on_fresh_seeds_wins_where_the_race_was_misled(rule):
    losses, journal = losses_of(), Memory()
    race = make_race(losses, rule=rule, confirm=60, finalists=8, journal=journal)
    drive(race, losses, n_workers=3)
    (chosen,), (won,) = told(journal, Finalists), told(journal, Confirm)
    ids = [one.id for one in pool_of(len(losses))]
    assert chosen.configurations[0] == ids[race.state.verdict.leader]
    assert len(set(chosen.configurations)) == 8
    best = min(chosen.configurations, key=lambda id_: losses[ids.index(id_), 100:].mean())
    assert won.configuration_id == best == ids[race.state.winner]
    found = verdict(race, "mean", 50)
    assert (found.winner.id, found.finalists[0].configuration_id) == (best, best)
    assert [one.place for one in sorted(found.finalists, key=lambda one: one.place)] == list(range(1, 9))
    separated = {one.configuration_id: one.n_instances for one in told(journal, Separate)}
    assert {one.configuration_id for one in found.finalists if one.separated} == set(separated)
    assert {one.configuration_id: one.fresh.n_instances for one in found.finalists if one.separated} == separated
    assert 25 in separated.values(), "who is a whole unit worse needs no 60 instances"
    assert found.certified is None
    assert found.confirmation.n_instances == 60


def test_all_finalists_see_the_same_seeds_and_nobody_trains_on_who_is_told_from_the_best():
    losses, journal = losses_of(), Memory()
    race = make_race(losses, confirm=60, finalists=8, journal=journal)
    asked = drive(race, losses, n_workers=4)
    fresh = {}
    for key in asked:
        phase, index = race.state.seeds.index(key.seed)
        if phase is Phase.CONFIRMATION:
            fresh.setdefault(key.configuration_id, []).append(index)
    for separate in told(journal, Separate):
        assert fresh.pop(separate.configuration_id) == list(range(separate.n_instances))
    assert all(indices == list(range(60)) for indices in fresh.values())


def test_one_finalist_is_the_paper_s_way():
    losses, journal = losses_of(), Memory()
    race = make_race(losses, confirm=20, finalists=1, journal=journal)
    asked = drive(race, losses)
    fresh = [key for key in asked if race.state.phase(key) is Phase.CONFIRMATION]
    assert {key.configuration_id for key in fresh} == {race.state.pool.id(race.state.verdict.leader)}
    assert len(fresh) == 20
    assert not told(journal, (Finalists, Separate, Confirm))
    assert verdict(race, "mean", 50).finalists == ()


@pytest.mark.parametrize("n_workers", [1, 7])
def test_the_order_of_results_and_the_number_of_workers_change_nothing(n_workers):
    losses, generator = losses_of(), np.random.default_rng(n_workers)
    race = make_race(losses, confirm=60, finalists=8)
    drive(race, losses, n_workers=n_workers, choose=lambda running: int(generator.integers(len(running))))
    calm = make_race(losses, confirm=60, finalists=8)
    drive(calm, losses)
    assert race.state.winner == calm.state.winner
    assert race.state.confirmations.separated == calm.state.confirmations.separated


def test_other_settings_come_to_what_they_would_have_come_to_at_once():
    losses, journal = losses_of(), Memory()
    drive(make_race(losses, confirm=20, journal=journal), losses)
    for n, confirm in ((4, 30), (8, 60), (1, 60)):
        race = make_race(losses, confirm=confirm, finalists=n, journal=journal)
        race.replay(journal.entries)
        assert not race.done
        drive(race, losses, n_workers=2)
        calm = make_race(losses, confirm=confirm, finalists=n)
        drive(calm, losses)
        assert verdict(race, "mean", 50).winner == verdict(calm, "mean", 50).winner
        assert race.state.confirmations.separated == calm.state.confirmations.separated
        again = make_race(losses, confirm=confirm, finalists=n)
        again.replay(journal.entries)
        assert again.done
        assert image(again) == image(race)


def test_a_finalist_may_be_dropped_but_not_the_last_one():
    losses, journal = losses_of(), Memory()
    race = make_race(losses, confirm=60, finalists=3, journal=journal)
    while not race.state.confirmations.finalists:
        drive_one(race, losses)
    first, second, third = (race.state.pool.id(row) for row in race.state.confirmations.finalists)
    assert race.drop(first, "too large", "ada")
    assert not race.drop(first, "twice", "ada")
    assert race.drop(second, "too slow", "ada")
    assert not race.drop(third, "the last", "ada")
    drive(race, losses)
    found = verdict(race, "mean", 50)
    assert found.winner.id == third
    assert [one.configuration_id for one in found.finalists] == [third]
    assert "too large" in found.note


def drive_one(race, losses):
    from races import result_of

    (request,) = trials(race)
    race.tell(*(result_of(race, key, losses) for key in request.keys))


def test_who_diverged_or_was_never_trained_is_no_finalist():
    losses = losses_of()
    losses[3:] = np.nan
    race = make_race(losses, confirm=4, finalists=8)
    drive(race, losses)
    assert sorted(race.state.confirmations.finalists) == [0, 1, 2]


def test_who_was_screened_out_after_it_had_won_is_no_finalist():  # worlds 3479 and 13369
    losses, journal = losses_of(4), Memory()
    losses[0], best = 0.0, pool_of(4)[0].id
    race = make_race(losses, rule=RULES["exhaustive"], criterion="median", confirm=2, finalists=3, journal=journal)

    def fails(key, attempt):
        return key == InstanceKey(best, race.state.seeds.seed(Phase.RACE, 0))

    drive(race, losses, fails=fails)
    assert race.state.pool.id(race.state.winner) == best, "its other two instances are good enough"
    race.retry_failed()
    (again,) = [key for block in trials(race, 1) for key in block.keys]
    assert fails(again, 1)
    race.screen_out(again, (9.0,), 1.0, 0.1, "node")
    drive(race, losses)
    assert len(told(journal, Finalists)) == 2
    assert best not in told(journal, Finalists)[-1].configurations


def test_the_plan_counts_every_finalist():
    data = {
        "workload": "digits",
        "space": {"hidden": [[8], [16]], "lr": [0.1], "batch_size": [8], "optimizer": ["AdamW"]},
    }
    alone = plan(from_data({**data, "rule": "exhaustive", "race": {"confirm": 30}}))
    both = plan(from_data({**data, "rule": "exhaustive", "race": {"confirm": 30, "finalists": 8}}))
    assert both.n_instances == (alone.n_instances[0], alone.n_instances[1] + 30)
    assert both.finalists == 2


def test_finalists_need_fresh_seeds():
    with pytest.raises(ExperimentError, match=r"3 finalists are compared on fresh seeds, but confirm is 0"):
        from_data({"workload": "digits", "space": {"lr": [0.1]}, "race": {"confirm": 0, "finalists": 3}})


def test_looks_double_and_end_with_the_last_instance():
    assert looks(100) == (25, 50, 100)
    assert looks(20) == (20,)
    assert looks(60) == (25, 50, 60)


NOISE = {
    "normal, paired": lambda g, k, n: g.normal(size=(k, n)) + g.normal(size=n),
    "skewed": lambda g, k, n: np.exp(g.normal(size=(k, n))),
    "two modes": lambda g, k, n: 0.3 * g.normal(size=(k, n)) + 3 * (g.random((k, n)) < 0.2),
    "a calm one among noisy ones": lambda g, k, n: g.normal(size=(k, n)) * np.where(np.arange(k) == 0, 0.1, 1)[:, None],
}


@pytest.mark.parametrize("criterion", ["mean", "median", "q3", "q3_plus_iqr", "cvar"])
@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE)
def test_the_best_one_is_told_from_itself_as_rarely_as_is_stated(noise, criterion):
    """Eight equally good ones: the rate at which the first is taken out in any look; 60 races, and 3 sd of doubt."""
    g, n_races = np.random.default_rng(5), 60
    judge = registry.load("criteria", criterion)
    shift = np.array([float(judge(row)) for row in noise(np.random.default_rng(6), 8, 100_000)])
    wrong = 0
    for _ in range(n_races):
        losses = noise(g, 8, 100) - shift[:, None]
        p = [p_values(losses[:, :n], judge, g, 300)[0] for n in looks(100)]
        wrong += min(p) <= ALPHA / (7 * len(p))
    assert wrong / n_races <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / n_races)


def test_who_is_much_worse_is_told_from_the_best_and_a_single_loss_tells_nothing():
    g = np.random.default_rng(1)
    losses = g.normal([[0.0], [3.0]], 1, (2, 100))
    assert p_values(losses, registry.load("criteria", "q3"), g)[1] < 1e-3
    assert p_values(losses[:, :19], registry.load("criteria", "q3"), g)[1] == 1
    assert p_values(losses, registry.load("criteria", "max"), g)[1] == 1
    losses[1, :30] = np.inf
    assert p_values(losses, registry.load("criteria", "q3"), g)[1] == 1
