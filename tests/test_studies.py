"""The studies of benchmarks/studies: their statistics, and that a quick one runs, and goes on where it broke off."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
STUDIES = ROOT / "benchmarks" / "studies"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what imports a module of the studies, which stand outside of the package."""
    monkeypatch.syspath_prepend(str(STUDIES))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which the studies set, and which must not stay
    return importlib.import_module


def test_a_ratio_of_spreads_and_its_interval_are_those_that_one_knows(load: Any) -> None:
    numbers = load("_numbers")
    generator = np.random.default_rng(0)
    wide, narrow = generator.normal(0.0, 2.0, 400), generator.normal(5.0, 1.0, 400)
    found = numbers.ratio(narrow, wide, "std")
    assert found.value == pytest.approx(narrow.std(ddof=1) / wide.std(ddof=1))
    assert 0.4 < found.low < found.value < found.high < 0.6
    assert found.against(1) == "reproduced"
    assert found.against(1, below=False) == "the opposite was seen"
    assert numbers.ratio(narrow, narrow[::-1], "std").against(1).startswith("not shown with n = 400")
    assert numbers.ratio(narrow[:5], wide, "std").against(1) == "n = 5 is too few to say"


def test_paired_groups_are_resampled_together(load: Any) -> None:
    numbers = load("_numbers")
    losses = np.random.default_rng(0).normal(10.0, 3.0, 50)
    paired = numbers.estimate(lambda a, b: np.mean(a - b, axis=-1), [losses + 1.0, losses], paired=True)
    assert (paired.low, paired.high) == pytest.approx((1.0, 1.0))
    apart = numbers.estimate(lambda a, b: np.mean(a - b, axis=-1), [losses + 1.0, losses])
    assert apart.high - apart.low > 1.0


def test_a_share_has_wilsons_interval(load: Any) -> None:
    found = load("_numbers").share(np.array([True] * 8 + [False] * 2))
    assert (found.value, found.low, found.high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)


def test_few_seeds_find_only_great_differences_of_spread(load: Any) -> None:
    ratio = load("_numbers").detectable_ratio(20)
    generator = np.random.default_rng(0)
    spreads = generator.normal(size=(2, 20_000, 20)).std(axis=2, ddof=1)
    seen = (ratio * spreads[0] / spreads[1]) ** 2 < 1 / 2.526  # F(19, 19)'s 97.5 % quantile
    assert np.mean(seen) == pytest.approx(0.8, abs=0.02)
    assert ratio < load("_numbers").detectable_ratio(100) < 1


def test_every_study_has_every_size_and_is_among_all(load: Any) -> None:
    names = sorted(path.stem for path in STUDIES.glob("[!_]*.py") if path.stem != "all")
    assert sorted(load("all").STUDIES) == names
    for name in names:
        module = load(name)
        assert (module.NAME, [*module.SIZES]) == (name, ["quick", "small", "full"])


@pytest.mark.parametrize("job", ["showers", "fashion", "tabular"])
def test_the_kept_trainings_of_payoff_are_all_that_its_small_size_asks_for(load: Any, tmp_path: Path, job: str) -> None:
    tables, size = load("_tables"), load("payoff").SIZES["small"]
    assert job in size.jobs
    bench = load("_frame").Bench("payoff", "small", tmp_path)
    table = tables.kept(bench, job, size.n_search, size.n_held_out)
    assert bench.n_trained == 0
    assert not [*tmp_path.iterdir()]
    space = tables.jobs("small")[job].space
    assert len(table.losses) == np.prod([len(values) for values in space.values()])
    assert table.held_out.shape == (len(table.losses), size.n_held_out)
    assert not np.isnan(table.held_out).any()
    finite = np.isfinite(table.losses)
    assert (table.curves[..., -1][finite] == table.losses[finite]).all()


@pytest.mark.long
@pytest.mark.process
def test_a_quick_study_writes_its_page_and_trains_nothing_twice(tmp_path: Path) -> None:
    def carry_out() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(STUDIES / "sample_size.py"), "--quick", "--runs", str(tmp_path)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
        assert done.returncode == 0, done.stderr
        return done

    first = carry_out()
    page = (tmp_path / "quick" / "sample_size.md").read_text()
    assert "IQR ratio" in page
    assert "| Model 2 | 400 | 6 |" in page
    assert "--size quick" in page
    assert (tmp_path / "quick" / "sample_size.png").read_bytes().startswith(b"\x89PNG")
    journals = sorted(tmp_path.rglob("journal.jsonl"))
    before = [journal.read_bytes() for journal in journals]
    assert len(before) == 2
    # one search lost its end: it alone goes on, to the same losses
    journals[0].write_bytes(b"".join(before[0].splitlines(keepends=True)[:6]))
    (journals[0].parent / "report.html").unlink()
    table = [line for line in first.stdout.splitlines() if line.startswith("| Model 2")]
    assert [line for line in carry_out().stdout.splitlines() if line.startswith("| Model 2")] == table
    assert journals[1].read_bytes() == before[1]
