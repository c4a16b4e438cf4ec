"""The recorded tables of the repository: whole, loadable by name, and what a training of today still gives."""

from pathlib import Path

import numpy as np
import pytest

import raysearch
from raysearch.errors import WorkloadError
from raysearch.experiment.experiment import from_file
from raysearch.records import InstanceKey
from raysearch.storage import tables

DATA = Path(__file__).parents[1] / "benchmarks" / "data"
FILES = sorted(DATA.glob("*.yaml"))


@pytest.fixture(autouse=True)
def _benchmarks_can_be_imported(monkeypatch):
    monkeypatch.syspath_prepend(str(DATA.parent))


def experiment_of(file):
    experiment = from_file(file)
    workload = experiment.load("workload")
    return experiment, workload, experiment.load("sampler").bind(experiment.build_space(workload), experiment.seed)([])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_table_holds_what_its_file_asks_for(file):
    assert file.stem in tables.names()
    table, (experiment, workload, configurations) = tables.load(file.stem), experiment_of(file)
    assert [one.id for one in table.configurations] == [one.id for one in configurations]
    assert table.race.shape == (len(configurations), experiment.load("rule").n_instances)
    assert not np.isnan(table.race).any()
    assert table.curves.shape[2] == workload.epochs
    told = experiment.model_dump(mode="json")
    assert {
        name: table.experiment[name] for name in ("workload", "space", "constraints", "seed")
    }.items() <= told.items()
    finite = np.isfinite(table.losses)
    assert (table.curves[..., -1][finite] == table.losses[finite]).all()
    best = np.nanargmin(np.quantile(table.race, 0.75, axis=1))
    assert np.isfinite(table.held_out[best]).sum() >= experiment.race.confirm


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_instance_trained_today_has_the_recorded_loss(file):
    table, (_, workload, configurations) = tables.load(file.stem), experiment_of(file)
    try:
        data = workload.prepare()
    except (FileNotFoundError, WorkloadError) as error:
        if "dataset-fashion-mnist" not in str(error):  # all else than images that are not installed is a failure
            raise
        pytest.skip(str(error))
    row = next(row for row, one in enumerate(configurations) if one.parameters["lr"] <= 0.003)  # calm: rounding stays
    seed = int(table.seeds[1])
    (result,) = workload.train(configurations[row], [seed], lambda *_: None, data)
    assert result.key == InstanceKey(configurations[row].id, seed)
    assert result.loss == pytest.approx(table.losses[row, 1], rel=0.01)
    assert result.curve == pytest.approx(table.curves[row, 1], rel=0.01)
    others = np.delete(table.race[row], 1)
    assert np.mean(abs(others / result.loss - 1) <= 0.01) < 0.5, "any instance would have passed"


def test_a_whole_search_runs_on_a_table_by_its_name(tmp_path):
    table = tables.load("digits_1728")
    space = {**table.experiment["space"], "hidden": [[64], [128]], "lr": [0.01, 0.1], "activation": ["ReLU"]}
    found = raysearch.search(
        {"name": "replay", "table": "digits_1728"},
        space=space,
        criterion="q3",
        rule={"name": "halving", "warmup": 4},
        confirm=100,
        run_dir=tmp_path / "run",
        execution="local",
        tracking=None,
        progress=False,
    )
    winner = table.rows[found.verdict.winner.id]
    assert found.verdict.confirmation.q3 == np.quantile(table.held_out[winner, :100], 0.75)
    assert found.verdict.race.q3 < np.quantile(table.race, 0.75, axis=1).mean()


def test_all_tables_together_are_small():
    assert sum(path.stat().st_size for path in DATA.glob("*.parquet")) < 20e6


@pytest.mark.long
def test_the_structured_family_is_fitted_to_its_table_and_no_surrogate_knows_all_of_it():
    from _selection_families import FAMILIES

    family = FAMILIES["calo6912_structured"]
    one, other = family.table(0, 4), family.table(1, 4)
    assert one.losses.shape == (6912, 4)
    assert len({repr(parameters) for parameters in one.parameters}) == len(one.truth) == 6912
    recorded = np.log(tables.load("calorimeter_320").race)
    drawn = np.log(one.truth[np.isfinite(one.truth)])
    assert abs(np.median(drawn) - np.nanmedian(recorded)) < 0.5
    assert explained(one, one) > 0.5
    assert explained(one, one) < 0.97, "nothing would be left that mains and pairs cannot say"
    assert explained(one, other) < explained(one, one), "every replicate would be of the same population"


def explained(learnt_from, judged_on):
    """Return the share of the variance of log levels that mains and pairs, fitted to one table, explain of another."""
    from _selection_structured import Design

    def columns_and_levels(table):
        some = table.parameters[::3]
        columns = np.hstack([Design(table.parameters, order).matrix(some) for order in (1, 2)])
        return columns, np.log(np.minimum(table.truth[::3], 10.0))

    x, y = columns_and_levels(learnt_from)
    weights = np.linalg.solve(x.T @ x + 1e-6 * np.eye(x.shape[1]), x.T @ (y - y.mean()))
    x, y = columns_and_levels(judged_on)
    return 1 - np.var(y - y.mean() - x @ weights) / np.var(y)
