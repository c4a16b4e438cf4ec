import math

import pandas as pd
import pytest

from raysearch.analysis.savings import duration, savings, sentence


def table(rows):
    frame = pd.DataFrame(rows, columns=["configuration_id", "instance", "phase", "status", "seconds"])
    return frame.astype({"seconds": float})


SMALL = table(
    [
        ("a", 0, "race", "COMPLETE", 10),
        ("b", 0, "race", "COMPLETE", 20),
        ("c", 0, "race", "FAILED", 30),
        ("a", 1, "race", "COMPLETE", 10),
        ("b", 1, "race", "DIVERGED", 40),
        ("c", 1, "race", "STOPPED", 5),
        ("a", 2, "race", "COMPLETE", 10),
        ("a", 0, "confirmation", "COMPLETE", 12),
    ]
)


def test_counts_and_seconds_by_hand():
    spent = savings(SMALL)
    assert (spent.n_configurations, spent.n_each, spent.n_race, spent.n_confirmation, spent.n_stopped) == (
        3,
        3,
        6,
        1,
        1,
    )
    assert (spent.n_instances, spent.n_exhaustive) == (7, 9)
    assert (spent.seconds_race, spent.seconds_confirmation, spent.seconds) == (125, 12, 137)
    assert spent.seconds_exhaustive == pytest.approx((10 + 30 + 30) * 3)
    assert [(step.number, step.n_instances, step.seconds) for step in spent.steps] == [
        (1, 3, 60),
        (2, 2, 50),
        (3, 1, 10),
    ]
    assert spent.factor == pytest.approx(9 / 7)


def test_pool_and_depth_can_be_given():
    spent = savings(SMALL, n_configurations=10, n_each=50)
    assert spent.n_exhaustive == 500
    assert spent.seconds_exhaustive == pytest.approx(70 / 3 * 500)


def test_paper_sized_race_gives_the_papers_sentence(race):
    spent = savings(race(72, 3, 0).instances, n_each=14)
    assert (spent.n_race, spent.n_exhaustive) == (285, 1008)
    text = sentence(spent)
    assert "Spent 285 instances, 8,199 epochs and" in text
    assert "3.5 times fewer than the 72 configurations x 14 = 1,008 instances" in text


def test_sentence_names_the_confirmation_and_admits_a_loss():
    text = sentence(savings(SMALL, n_each=1))
    assert "7 instances (6 to race, 1 to confirm)" in text
    assert "2.3 times more than" in text
    assert "nothing was saved" in text
    assert "about as many" in sentence(savings(SMALL[SMALL["phase"] == "race"], n_each=2))


def test_nothing_trained_and_no_clock():
    assert sentence(savings(SMALL.iloc[:0])) == "Nothing has been trained yet."
    spent = savings(SMALL.assign(seconds=0.0))
    assert math.isnan(spent.seconds_exhaustive)
    assert "machine time" not in sentence(spent)


def test_duration():
    texts = {0.0123: "12.3 ms", 1: "1 s", 90: "1.5 min", 7200: "2 h", 5 * 86400: "5 days", math.nan: "unknown"}
    assert {seconds: duration(seconds) for seconds in texts} == texts
