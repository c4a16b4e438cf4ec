"""What MLflow's pages say in words."""

import dataclasses
import math

import pytest

from raysearch.records import Configuration, ParetoPoint, Summary, Verdict
from raysearch.tracking._mlflow_text import search_note

SUMMARY = Summary(24, 0.2, 0.19, 0.2, 0.02, 0.3, 0.2, 0.01)
BEST, OTHER = Configuration.of({"x": 1}), Configuration.of({"x": 2})
PLAIN = Verdict(winner=BEST, criterion="q3", race=SUMMARY, n_configurations=8, n_instances=90, n_exhaustive=400)


def test_the_note_says_how_sure_the_rule_is_and_of_what():
    sure = dataclasses.replace(PLAIN, certified=True, probability=0.962, delta=0.01)
    assert "**Certified**: P(within 1 % of the best) = 0.962 after 24 instances of it." in search_note(sure)
    same = (BEST.id, OTHER.id)
    open_ = dataclasses.replace(sure, certified=False, probability=0.8, indistinguishable=same, note="budget spent")
    assert (
        "**Not certified**: P(within 1 % of the best) = 0.800 after 24 instances of it. budget spent. "
        f"The rule cannot tell it apart from `{OTHER.id}`."
    ) in search_note(open_)
    assert "ertified" not in search_note(PLAIN)


@pytest.mark.parametrize(
    ("probability", "text"), [(0.9996, "0.999"), (1.0, "1.000"), (0.29, "0.290"), (math.nan, "unknown")]
)
def test_a_probability_is_cut_and_never_reads_as_more_than_it_is(probability, text):
    sure = dataclasses.replace(PLAIN, certified=True, probability=probability, delta=0.01)
    assert f"of the best) = {text} after" in search_note(sure)


def test_the_note_shows_the_pareto_set():
    front = (ParetoPoint(BEST.id, (0.19, 0.02), 9), ParetoPoint(OTHER.id, (0.25, 0.01), 5))
    note = search_note(dataclasses.replace(PLAIN, objectives=("median", "q3 of curvature"), pareto=front))
    assert "| configuration | instances | median | q3 of curvature |\n|---|---|---|---|" in note
    assert f"| `{BEST.id}` | 9 | 0.19 | 0.02 |" in note
