import dataclasses
import math

import numpy as np
import pytest

from raysearch.analysis import figures_race, plots
from raysearch.analysis.savings import savings


def test_boxes_show_the_winner_twice_and_say_what_the_race_had_said(race):
    results = race(72, 3, 40)
    (axes,) = figures_race.loss_boxes(results).axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == 9
    assert "confirmed, fresh seeds" in labels[0]
    assert "(n = 40)" in labels[0]
    assert "in the race" in labels[1]
    title = axes.get_title(loc="left")
    assert f"{results.verdict.confirmation.criterion:.4g} over 40 fresh" in title.replace("\n", " ")
    assert f"{results.verdict.race.criterion:.4g}" in title


def test_trajectories_draw_every_configuration_and_mark_every_cut(race):
    results = race(72, 3, 0)
    left, right = figures_race.trajectories(results).axes
    assert len(left.collections[0].get_segments()) == 72 - 8
    cutoffs = next(line for line in left.lines if line.get_label() == "cutoff")
    cuts = {cut.round: cut.cutoff for cut in results.eliminations}
    assert dict(zip(cutoffs.get_xdata(), cutoffs.get_ydata(), strict=True)) == pytest.approx(cuts)
    assert left.get_title(loc="left") == "72 configurations, 1 left after 8 rounds"
    winner = next(line for line in right.lines if line.get_label() == results.leader[:6])
    values = [value for _, name, value in results.rounds if name == results.leader]
    assert winner.get_ydata()[-1] == pytest.approx(values[-1])


def test_trajectories_of_an_open_race_say_so(race):
    results = race(72, 3, finish=False)
    left = figures_race.trajectories(results).axes[0]
    assert "36 left after 4 rounds so far (race not finished)" in left.get_title(loc="left").replace("\n", " ")


def test_std_is_infinite_in_round_one_and_still_drawn(race):
    results = race(8, 2, 0)
    rounds = [(number, name, math.inf if number == 1 else value) for number, name, value in results.rounds]
    figure = figures_race.trajectories(dataclasses.replace(results, rounds=rounds))
    assert plots.png(figure, dpi=40)
    last = [(n, name, math.inf if n == 2 or n == 1 else value) for n, name, value in results.rounds]
    note = figures_race.trajectories(dataclasses.replace(results, rounds=last)).axes[0].texts[0].get_text()
    assert "4 configurations at +inf" in note


def test_bars_count_the_instances_of_each_step(race):
    results = race(72, 3, 0)
    (axes,) = figures_race.instances_per_step(results, savings(results.instances, n_each=50)).axes
    tops = [bar.get_y() + bar.get_height() for bar in axes.patches]
    assert tops == pytest.approx([72, 72, 72, 36, 18, 9, 4, 2])
    assert axes.get_yscale() == "log"
    assert "12.6 times fewer" in axes.get_title(loc="left").replace("\n", " ")


def test_learning_curves_show_median_and_settling(race):
    results = race(8, 1, 30, diverge=0.0)
    (axes,) = figures_race.learning_curves(results).axes
    assert len(axes.collections[0].get_segments()) == 30
    assert len(axes.lines[0].get_ydata()) == 30
    assert "30 confirmation instances" in axes.get_title(loc="left").replace("\n", " ")


def test_curves_of_unequal_length_end_where_half_have_stopped(race):
    results = race(8, 1, 10, diverge=0.0)
    rows = results.instances.copy()
    fresh = rows.index[rows["phase"] == "confirmation"]
    for index in fresh[:8]:
        rows.at[index, "curve"] = rows.at[index, "curve"][:12]
    (axes,) = figures_race.learning_curves(dataclasses.replace(results, instances=rows)).axes
    assert np.max(axes.lines[0].get_xdata()) == 12


def test_nothing_to_draw_gives_none(race):
    results = race(8, 1, 0)
    empty = dataclasses.replace(results, instances=results.instances.iloc[:0], verdict=None, eliminations=[], rounds=[])
    assert figures_race.loss_boxes(empty) is None
    assert figures_race.trajectories(empty) is None
    assert figures_race.learning_curves(empty) is None
    assert figures_race.instances_per_step(empty, savings(empty.instances)) is None


def test_nothing_but_divergence_gives_none(race):
    results = race(12, 3, 5, diverge=1.0)
    assert figures_race.loss_boxes(results) is None
    assert figures_race.trajectories(results) is None
    assert figures_race.learning_curves(dataclasses.replace(results, instances=without_curves(results))) is None


def without_curves(results):
    return results.instances.assign(curve=[[] for _ in range(len(results.instances))])


def test_a_small_pool_needs_no_enlarged_panel(race):
    assert len(figures_race.trajectories(race(5, 2, 0)).axes) == 1
    assert len(figures_race.trajectories(race(72, 2, 0)).axes) == 2
