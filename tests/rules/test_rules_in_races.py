"""Rules that stop themselves, in whole races with crashes, ties and divergence."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from races import Memory, drive, image, make_race


@st.composite
def raced(draw):
    """A table with ties or divergence, and a rule that takes several decisions on it."""
    n = draw(st.integers(1, 9))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    losses = 5 + generator.normal(size=(n, 1)) + generator.normal(size=(n, 60))
    kind = draw(st.sampled_from(["plain", "coarse", "diverging"]))
    if kind == "coarse":
        losses = np.round(losses)
    if kind == "diverging":
        losses = np.where(generator.random(losses.shape) < 0.2, np.nan, losses)
    budget = draw(st.integers(n, 120))
    keep = draw(st.integers(2, 9))
    rule = draw(
        st.sampled_from(
            [
                ("top_two", {"budget": budget, "cap": 30, "keep": keep}),
                ("top_two", {"cap": 25, "delta": 0.05}),
                ("sequential_halving", {"budget": budget // 3 + n}),
                ("significance", {"warmup": 2, "max_instances": 8, "alpha": 0.2}),
            ]
        )
    )
    return losses, rule


@settings(max_examples=60, deadline=None)
@given(raced(), st.sampled_from(["mean", "q3", "std"]), st.integers(1, 12), st.booleans(), st.integers(0, 2**32))
def test_in_a_race_with_crashes_the_plan_bounds_the_cost_and_the_eliminated_stay_out(table, criterion, w, ahead, seed):
    losses, rule_ = table
    generator = np.random.default_rng(seed)
    journal = Memory()
    race = make_race(losses, rule=rule_, criterion=criterion, journal=journal, ahead=ahead)
    drive(
        race,
        losses,
        n_workers=w,
        choose=lambda running: int(generator.integers(len(running))),
        fails=lambda key, attempt: attempt == 1 and key.seed % 5 == 0,
    )
    out = {id_ for cut in race.state.eliminations for id_ in cut.configurations}
    assert race.state.pool.configurations[race.state.verdict.leader].id not in out
    if "budget" in rule_[1]:
        assert race.state.counts["asked"] <= rule_[1]["budget"]
    eliminated = set()
    for event in journal.events:
        if event["event"] == "eliminate":
            eliminated.update(event["configurations"])
        if event["event"] == "ask":
            assert event["configuration"] not in eliminated
    again = make_race(losses, rule=rule_, criterion=criterion)
    again.replay(journal.entries)
    assert image(again) == image(race)
