"""What released versions wrote is read for ever: each journal comes to its verdict, each logged model predicts as then.

Recorded by the version that the folder names, never written anew.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysearch.driver.resume import resume
from raysearch.driver.status import read_status, write_report
from raysearch.driver.sync import sync
from raysearch.records import Verdict

RELEASED = Path(__file__).parent / "data" / "released"
JOURNALS = sorted(RELEASED.glob("*/*.jsonl"))


def facts(verdict: Verdict) -> dict[str, Any]:
    assert verdict.confirmation is not None
    return {
        "winner": verdict.winner.id,
        "certified": verdict.certified,
        "probability": verdict.probability,
        "n_instances": verdict.n_instances,
        "race": verdict.race.criterion,
        "confirmation": verdict.confirmation.criterion,
        "indistinguishable": list(verdict.indistinguishable),
        "pareto": [point.configuration_id for point in verdict.pareto],
    }


def restored(journal: Path, tmp_path: Path) -> Path:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    shutil.copy(journal, run_dir / "journal.jsonl")
    return run_dir


def expected(journal: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((journal.parent / "expected.json").read_text())[journal.stem]
    return found


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_journal_of_a_released_version_comes_to_its_verdict(journal: Path, tmp_path: Path) -> None:
    run_dir = restored(journal, tmp_path)
    if journal.stem != "broken_off":
        verdict = read_status(run_dir).verdict
        assert verdict is not None
        assert facts(verdict) == expected(journal)
    resumed = resume(run_dir).verdict  # a finished one has nothing left to train
    assert facts(resumed) == expected(journal)
    assert write_report(run_dir, None).is_file()


def test_a_journal_of_a_released_version_can_be_synced(tmp_path: Path, make_store: Callable[..., str]) -> None:
    journal = RELEASED / "0.1.0" / "halving.jsonl"
    settings = {"tracking": {"name": "mlflow", "uri": make_store(tmp_path)}}
    n_ended = journal.read_text().count('{"event":"tell"')
    assert sync(restored(journal, tmp_path), settings) == n_ended > 40


@pytest.mark.mlflow
@pytest.mark.parametrize("folder", sorted(RELEASED.glob("*/model")), ids=lambda path: path.parent.name)
def test_a_model_of_a_released_version_predicts_as_then(folder: Path) -> None:
    import mlflow.pyfunc

    model = mlflow.pyfunc.load_model(str(folder))
    example = np.asarray(model.input_example, dtype=np.float32)
    np.testing.assert_allclose(model.predict(example), np.load(folder.parent / "model_prediction.npy"), rtol=1e-5)
