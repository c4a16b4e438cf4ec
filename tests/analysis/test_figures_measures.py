"""Figures of measures: whatever was measured, or not."""

import math

import numpy as np
import pytest

from raysearch.analysis import figures_measures, plots
from raysearch.storage.events import Measured
from raysearch.storage.measurements import array_path

ONE, TWO = "0" * 12, "1" * 12


@pytest.mark.parametrize(
    "values", [[math.nan, math.nan], [math.inf, 1.0], [-math.inf, 1.0], [1e308, -1e308], [0.0, 0.0]]
)
def test_numbers_of_any_size_are_drawn_or_left_out(tmp_path, values):
    findings = [Measured("curvature", ONE, seed, {"top": value}) for seed, value in enumerate(values)]
    findings.append(Measured("curvature", ONE, None, {"top": 1.0}, n_instances=2))
    parts = figures_measures.sections(findings, tmp_path)
    assert not [part for _, part in parts if isinstance(part, str)]
    drawn = [part for _, part in parts if isinstance(part, plots.Figure)]
    assert len(drawn) == bool(np.isfinite(values).any())
    assert all(plots.svg(figure, "a") for figure in drawn)


def test_an_instance_without_numbers_is_no_error(tmp_path):
    findings = [
        Measured("curvature", ONE, 1, {}, error="no weights"),
        Measured("curvature", ONE, 2, {"top": 1.0}),
        Measured("curvature", ONE, None, {"top": 1.0}),
    ]
    assert figures_measures.figure(findings, tmp_path) is not None
    assert figures_measures.figure([findings[0], findings[2]], tmp_path) is None


def test_a_configuration_whose_arrays_are_gone_is_left_out(tmp_path):
    findings = [Measured("local_instability", id_, None, {"disagreement": 0.5}) for id_ in (ONE, TWO)]
    path = array_path(tmp_path, "local_instability", TWO)
    path.parent.mkdir()
    np.savez(path, label_entropy=np.array([0.0, 0.5, 0.7]))
    (axes,) = figures_measures.figure(findings, tmp_path).axes
    assert [line.get_label() for line in axes.lines] == [TWO]


def test_a_damaged_file_of_arrays_is_said_in_place_of_the_figure(tmp_path):
    findings = [Measured("local_instability", ONE, None, {"disagreement": 0.5})]
    path = array_path(tmp_path, "local_instability", ONE)
    path.parent.mkdir()
    path.write_bytes(b"no arrays")
    texts = [part for _, part in figures_measures.sections(findings, tmp_path) if isinstance(part, str)]
    assert len(texts) == 1
    assert "The figure “local_instability” could not be drawn and is left out" in texts[0]
    assert figures_measures.pictures(findings, tmp_path) == {}
