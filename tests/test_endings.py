"""The end of a search: whatever its losses, and whatever goes wrong with pictures, the result is there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch.analysis import figures_race, report
from raysearch.in_python import search
from raysearch.status import write_report

KINDS = ("plain", "diverging", "one seed diverges for all", "all diverge", "huge", "failing", "tiny", "equal")


def searched(number: int, run_dir: Path) -> Any:
    """Carry out a small search, drawn from its number."""
    g = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    first: list[int] = []

    def train(config: dict[str, Any], seed: int) -> Any:
        own = np.random.default_rng([seed, config["x"]])
        first.append(seed) if not first else None
        if kind == "failing" and own.random() < 0.3:
            raise ValueError(f"no luck {config['x']}")
        if kind == "all diverge" or (kind == "diverging" and own.random() < 0.4):
            return float("nan")
        if kind == "one seed diverges for all" and seed == first[0]:
            return float("inf")
        loss = 1.0 + config["x"] / 10 + 0.1 * own.normal()
        return {"huge": 1e300 * loss, "tiny": 1e-300 * loss, "equal": 1.0}.get(kind, loss)

    rules: list[Any] = [{"name": "halving", "warmup": 2}, None, {"name": "significance", "max_instances": 4}]
    return search(
        train,
        space={"x": list(range(int(g.integers(1, 10)))), "y": ["a", "b"][: int(g.integers(1, 3))]},
        criterion=str(g.choice(["median", "q3", "mean", "max", "std"])),
        rule=rules[number % 3],
        confirm=int(g.integers(0, 4)),
        run_dir=run_dir,
        execution="local",
        tracking=None,
        progress=False,
        retries=0,
        seed=number,
    )


@pytest.mark.parametrize("number", range(24))
def test_whatever_the_losses_a_search_returns_its_result_and_a_report(
    number: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = searched(number, tmp_path / "run")
    assert result.verdict.winner is not None
    assert len(result.instances) >= result.verdict.n_instances - 1
    page = (tmp_path / "run" / "report.html").read_text()
    assert "is left out" not in page, caplog.text
    assert not caplog.records
    assert write_report(tmp_path / "run", None).is_file()


def test_a_figure_that_cannot_be_drawn_is_left_out_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(results: Any) -> None:
        raise ZeroDivisionError("no <b>axis</b>")

    monkeypatch.setattr(figures_race, "trajectories", broken)
    with caplog.at_level(logging.WARNING):
        result = searched(0, tmp_path / "run")
    page = (result.run_dir / "report.html").read_text()
    assert "The figure &#39;trajectories&#39; is left out, it could not be drawn: ZeroDivisionError" in page
    assert "<b>axis</b>" not in page
    assert page.count("<svg") >= 2, "the others are there"
    assert "'trajectories' is left out" in caplog.text


def test_a_report_that_cannot_be_made_takes_nothing_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(report, "render", lambda *arguments: 1 / 0)
    result = searched(0, tmp_path / "run")
    assert result.verdict.winner is not None
    assert len(result.instances) == result.verdict.n_instances
    assert (tmp_path / "run" / "instances.parquet").is_file()
    assert "the report could not be made: ZeroDivisionError" in caplog.text
    assert f"`raysearch report {tmp_path / 'run'}` tries again" in caplog.text
    monkeypatch.undo()
    assert write_report(tmp_path / "run", None).is_file()
