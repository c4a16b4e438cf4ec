import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from raysearch.analysis import figures_space, plots


def test_criteria_curves_are_distribution_functions_of_six_criteria(race):
    results = race(72, 3, 0)
    (axes,) = figures_space.criteria_curves(results).axes
    assert [line.get_label() for line in axes.lines] == ["min", "median", "mean", "q3", "q3_plus_iqr", "max"]
    common = results.matrix[:, :3]
    best = axes.lines[0]
    assert np.asarray(best.get_xdata())[1:] == pytest.approx(
        np.sort(common.min(axis=1))[np.isfinite(np.sort(common.min(axis=1)))]
    )
    worst = axes.lines[-1]
    assert max(worst.get_ydata()) == pytest.approx(np.isfinite(common.max(axis=1)).mean())
    assert "max values at +inf" in axes.texts[0].get_text()


def test_spread_needs_three_instances_each(race):
    assert figures_space.spread_against_level(race(72, 2, 0)) is None
    results = race(72, 4, 0)
    (axes,) = figures_space.spread_against_level(results).axes
    common = pd.DataFrame(results.matrix[:, :4][np.isfinite(results.matrix[:, :4]).all(axis=1)])
    level, spread = common.median(axis=1), common.quantile(0.75, axis=1) - common.quantile(0.25, axis=1)
    rho = np.corrcoef(level.rank(), spread.rank())[0, 1]
    assert f"rank correlation {rho:.2f} " in axes.get_title(loc="left").replace("\n", " ")


def test_effects_find_the_parameter_that_decides(race):
    found = figures_space.effects(race(288, 3, 0))
    assert next(iter(found)) == "activation"
    assert found["activation"][0] > 0.4
    assert found["pooling"][0] < 0.05
    assert [text for text, _ in found["learning_rate"][1]] == ["0.0001", "0.0003", "0.001", "0.01"]
    assert sum(len(values) for _, values in found["activation"][1]) == 288


def test_effects_bin_numbers_and_keep_conditional_parameters(race):
    results = race(72, 3, 0)
    rows = results.instances.copy()
    width = {name: 10.0 + i for i, name in enumerate(results.ids)}

    def widen(name, text):
        parameters = json.loads(text) | {"width": width[name]}
        return json.dumps(parameters | {"third": i} if (i := int(width[name])) % 2 else parameters)

    rows["parameters"] = [widen(*pair) for pair in zip(rows["configuration_id"], rows["parameters"], strict=True)]
    found = figures_space.effects(dataclasses.replace(results, instances=rows))
    assert [text for text, _ in found["width"][1]] == ["≤ 24.2", "≤ 38.4", "≤ 52.6", "≤ 66.8", "≤ 81"]
    third = found["third"][1]
    assert [text for text, _ in third][-1] == "not used"
    assert len(third) == 6
    assert sum(len(values) for _, values in third) == 72


def test_parameter_figure_names_the_strongest(race):
    results = race(288, 3, 0)
    figure = figures_space.parameter_effects(results)
    assert figure.get_suptitle().startswith("activation alone explains")
    assert plots.png(figure, dpi=40)


def test_too_few_configurations_give_none(race):
    results = race(1, 1, 5)
    assert figures_space.criteria_curves(results) is None
    assert figures_space.spread_against_level(results) is None
    assert figures_space.parameter_effects(results) is None


def test_no_claim_about_level_and_spread_of_a_few(race):
    (axes,) = figures_space.spread_against_level(race(5, 3, 0, diverge=0.0)).axes
    assert axes.get_title(loc="left") == "Spread and level (3 instances each)"


def test_nothing_but_divergence_gives_none(race):
    results = race(12, 3, 0, diverge=1.0)
    assert figures_space.criteria_curves(results) is None
    assert figures_space.spread_against_level(results) is None
    assert figures_space.parameter_effects(results) is None


def test_a_criterion_that_is_infinite_everywhere_keeps_its_name_and_costs_no_other_curve(race):
    results = race(12, 2, 0, diverge=0.0)
    rows = results.instances.copy()
    rows.loc[rows["instance"] == 0, ["status", "loss"]] = ["DIVERGED", math.inf]
    (axes,) = figures_space.criteria_curves(dataclasses.replace(results, instances=rows)).axes
    assert [line.get_label() for line in axes.lines if len(line.get_xdata())] == ["min"]
    assert len(axes.lines) == 6


def test_levels_that_do_not_differ_tell_nothing_of_the_spread(race):
    results = race(12, 3, 0, diverge=0.0)
    rows = results.instances.copy()
    middle = rows["instance"] == 0
    rows["loss"] = np.where(middle, 1.0, np.where(rows["instance"] % 2, 1 + rows["loss"], 1 - rows["loss"]))
    (axes,) = figures_space.spread_against_level(dataclasses.replace(results, instances=rows)).axes
    assert "hardly depends on level: rank correlation 0.00" in axes.get_title(loc="left").replace("\n", " ")


def test_parameters_of_hundreds_of_digits_have_effects(race):
    results = race(12, 2, 0)
    rows = results.instances.copy()
    huge = {name: [10**400 + i, -(10**400), i, 1e308, -1e308][i % 5] for i, name in enumerate(results.ids)}
    rows["parameters"] = [json.dumps({"huge": huge[name]}) for name in rows["configuration_id"]]
    (groups,) = [groups for _, groups in figures_space.effects(dataclasses.replace(results, instances=rows)).values()]
    assert sum(len(values) for _, values in groups) == 12
    assert plots.png(figures_space.parameter_effects(dataclasses.replace(results, instances=rows)), dpi=40)
