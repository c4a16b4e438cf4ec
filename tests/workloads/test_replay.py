import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import raysearch
from raysearch.errors import ExperimentError
from raysearch.records import Configuration, InstanceKey, Phase, Status
from raysearch.rules.exhaustive import Exhaustive
from raysearch.rules.halving import Halving
from raysearch.seeds import Seeds
from raysearch.storage import tables
from raysearch.workloads.replay import Replay

HERE = {"execution": "local", "tracking": None, "progress": False}
SPACE = {"level": [0.3, 0.1, 0.2], "spread": [0.02, 0.01]}
COLUMNS = ["configuration_id", "seed", "phase", "loss", "test_loss", "epochs"]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A finished search: 12 instances of each of six configurations, 5 others of the winner."""
    run_dir = tmp_path_factory.mktemp("recorded") / "run"
    workload = {"name": "synthetic", "epochs": 3}
    return raysearch.search(
        workload, space=SPACE, rule=Exhaustive(12), name="recorded", confirm=5, run_dir=run_dir, **HERE
    )


@pytest.fixture
def file(recorded):
    return str(recorded.run_dir / "instances.parquet")


def replayed(file, tmp_path, **asked):
    return raysearch.search({"name": "replay", "table": file}, space=SPACE, run_dir=tmp_path / "run", **asked, **HERE)


def by_instance(found):
    return found.instances.set_index(["configuration_id", "seed"]).loss.to_dict()


def test_a_search_on_its_own_table_is_repeated_confirmation_and_curves_included(recorded, file, tmp_path):
    found = replayed(file, tmp_path, rule=Exhaustive(12), confirm=5)
    assert found.instances[COLUMNS].equals(recorded.instances[COLUMNS])
    curves = [np.stack(one.instances.curve) for one in (found, recorded)]
    assert curves[0] == pytest.approx(curves[1], rel=1e-6)
    assert found.verdict.confirmation == recorded.verdict.confirmation


def test_another_rule_sees_a_part_of_the_same_losses(recorded, file, tmp_path):
    found = replayed(file, tmp_path, rule=Halving(4), confirm=0)
    assert len(found.instances) < 6 * 12
    assert by_instance(found).items() <= by_instance(recorded).items()


def test_seeds_that_were_not_recorded_draw_the_same_recorded_one_for_all_configurations(recorded, file, tmp_path):
    found = replayed(file, tmp_path, rule=Exhaustive(40), confirm=0, seed=1)
    race = recorded.instances[recorded.instances.phase == "race"].pivot(
        index="configuration_id", columns="instance", values="loss"
    )
    drawn = found.instances.pivot(index="configuration_id", columns="instance", values="loss").loc[race.index]
    columns = [np.flatnonzero((drawn[column].to_numpy() == race.to_numpy().T).all(axis=1)) for column in drawn]
    assert all(len(column) == 1 for column in columns)
    assert len({int(column[0]) for column in columns}) > 6


def test_a_diverged_instance_stays_one_and_a_stopped_one_counts_for_nothing(recorded, file, tmp_path):
    frame = pd.read_parquet(file)
    frame.loc[0, "loss"], frame.loc[1, "loss"] = math.inf, math.nan
    frame.to_parquet(tmp_path / "t.parquet")
    workload = Replay(str(tmp_path / "t.parquet"))
    rows = frame.head(2)
    configuration = Configuration.of(json.loads(rows.parameters[0]))
    results = workload.train(configuration, rows.seed.tolist(), lambda *_: None, workload.prepare())
    assert results[0].status is Status.DIVERGED
    assert results[0].key == InstanceKey(configuration.id, rows.seed[0])
    others = frame[(frame.configuration_id == configuration.id) & (frame.phase == "race")].loss
    assert results[1].loss in [math.inf, *others]


def test_each_epoch_is_reported_and_an_instance_ends_there(file):
    workload, told = Replay(file), []
    data = workload.prepare()

    def report(epoch, loss):
        told.append(epoch)
        if epoch == 2:
            raise StopAsyncIteration

    with pytest.raises(StopAsyncIteration):
        workload.train(data.configurations[0], [Seeds(0).seed(Phase.RACE, 0)], report, data)
    assert told == [1, 2]


@pytest.mark.parametrize(
    ("space", "reason"),
    [
        ({"level": [0.5], "spread": [0.01]}, r"level = 0.5 is none of 0.3, 0.1, 0.2"),
        ({"lr": [0.5]}, r"it has no parameter 'lr', only level, spread"),
        ({"level": [0.1]}, r"it is none of the 6 combinations in the table"),
    ],
)
def test_a_configuration_that_was_not_recorded_is_refused_before_anything_runs(file, tmp_path, space, reason):
    with pytest.raises(
        ExperimentError, match=rf"table .*instances.parquet: configuration .* was not recorded: {reason}"
    ):
        raysearch.search({"name": "replay", "table": file}, space=space, run_dir=tmp_path / "run", **HERE)


def test_tables_of_a_folder_have_names(file, tmp_path, monkeypatch):
    (tmp_path / "mine.parquet").write_bytes(Path(file).read_bytes())
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "other.parquet")
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    assert "mine" in tables.names()
    assert "other" not in tables.names()
    assert tables.load("mine").losses.shape == (6, 17)
    with pytest.raises(ExperimentError, match=r"unknown table 'mime'. Did you mean 'mine'"):
        tables.load("mime")
    with pytest.raises(
        ExperimentError, match=r"other.parquet is no table of instances: it has no column configuration_id"
    ):
        tables.load("other")
    (tmp_path / "other.parquet").write_bytes(b"PAR1 or not")
    with pytest.raises(ExperimentError, match=r"cannot read the table .*other.parquet"):
        tables.load("other")
    assert "other" not in tables.names()
    with pytest.raises(ExperimentError, match=r"there is no table 'no/such.parquet': name the instances.parquet"):
        tables.load("no/such.parquet")


def test_the_executor_of_the_same_name_knows_the_names_too(recorded, file, tmp_path, monkeypatch):
    (tmp_path / "mine.parquet").write_bytes(Path(file).read_bytes())
    monkeypatch.setenv(tables.VARIABLE, str(tmp_path))
    found = raysearch.search(
        "synthetic",
        space=SPACE,
        rule=Halving(4),
        confirm=0,
        run_dir=tmp_path / "run",
        execution={"name": "replay", "table": "mine", "n_workers": 4},
        tracking=None,
        progress=False,
    )
    assert 0 < len(found.instances) < 6 * 12
    assert by_instance(found).items() <= by_instance(recorded).items()


def test_a_table_says_its_race_apart_from_what_no_race_asks_for(recorded, file):
    table = tables.load(file)
    assert table.race.shape == (6, 12)
    assert table.held_out.shape == (6, 5)
    assert not np.isnan(table.race).any()
    winner = table.rows[recorded.verdict.winner.id]
    assert np.isnan(np.delete(table.held_out, winner, axis=0)).all()
    assert np.median(table.held_out[winner]) == recorded.verdict.confirmation.median
