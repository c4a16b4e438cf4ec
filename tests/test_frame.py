import json
import math

import numpy as np
import pytest
from races import Memory, drive, make_race, once, pool_of

from raysearch.errors import JournalError, RunDirectoryError
from raysearch.records import Configuration
from raysearch.storage.decoding import entries
from raysearch.storage.encoding import encode
from raysearch.storage.events import Measured
from raysearch.storage.instances import COLUMNS, read_parquet, to_frame, write_parquet
from raysearch.storage.journal import VERSION
from raysearch.storage.measurements import array_path, figure_path, read_measured

LOSSES = np.random.default_rng(0).normal(size=(4, 40))


def events_of(losses, **settings):
    journal = Memory()
    journal.write({"event": "start", "version": VERSION, "experiment": {"seed": 7}})
    race = make_race(losses, journal=journal, seed=7, **settings)
    drive(race, losses, n_workers=2, fails=settings.pop("fails", lambda key, attempt: False))
    return race, journal.events


def test_one_row_per_ended_instance_with_what_the_journal_knows():
    race, events = events_of(LOSSES, confirm=3)
    frame = to_frame(entries(events))
    assert tuple(frame.columns[: len(COLUMNS)]) == COLUMNS
    assert len(frame) == race.state.counts["told"]
    assert not frame.duplicated(["configuration_id", "seed"]).any()
    for row in frame[frame.phase == "race"].itertuples():
        assert row.loss == race.state.pool.losses[race.state.pool.rows[row.configuration_id], row.instance]
        assert json.loads(row.parameters) == {"x": row[frame.columns.get_loc("p.x") + 1]}
    assert sorted(frame[frame.phase == "confirmation"].instance) == [0, 1, 2]


def test_diverged_and_failed_instances_stay_visible():
    losses = LOSSES.copy()
    losses[1, 0] = np.nan
    journal = Memory()
    journal.write({"event": "start", "version": VERSION, "experiment": {"seed": 0}})
    race = make_race(losses, journal=journal, retries=1)
    row_of = race.state.pool.rows
    drive(race, losses, fails=lambda key, attempt: row_of[key.configuration_id] == 2)
    frame = to_frame(entries(journal.events))
    assert (frame[frame.status == "DIVERGED"].loss == math.inf).all()
    failed = frame[frame.status == "FAILED"]
    assert len(failed) == 2
    assert set(failed.error) == {"crashed"}
    assert set(failed.attempt) == {2}


@pytest.mark.parametrize(
    "parameters",
    [
        [{"x": 1}, {"x": 0.5}, {"x": 2}],
        [{"x": 1}, {"x": "one"}, {"x": True}],
        [{"x": [1, 2]}, {"x": []}, {"x": [3]}],
        [{"x": [1, "a"]}, {"x": 3}, {"x": [[]]}],
        [{"x": {"a": {}}}, {"x": {}}, {"x": {"b": 1}}],
        [{"x": 10**30}, {"x": 1}, {"x": -1}],
        [{"x": "ReLU"}, {"y": "only here"}, {"x": "PReLU", "y": "too"}],
        [{"x": "\u00e9\u4e2d"}, {"x": "a\nb"}, {"x": ""}],
    ],
)
def test_any_parameters_survive_parquet(tmp_path, parameters):
    pool = [Configuration.of(values) for values in parameters]
    _, events = events_of(LOSSES[:3], propose=once(pool))
    frame = to_frame(entries(events))
    write_parquet(frame, tmp_path / "instances.parquet")
    back = read_parquet(tmp_path / "instances.parquet")
    assert list(back.columns) == list(frame.columns)
    assert back.loss.tolist() == frame.loss.tolist()
    told = {row.configuration_id: json.loads(row.parameters) for row in back.itertuples()}
    assert told == {c.id: dict(c.parameters) for c in pool}
    assert [path.name for path in tmp_path.iterdir()] == ["instances.parquet"]


def test_numbers_stay_numbers_and_a_missing_parameter_stays_missing(tmp_path):
    pool = [Configuration.of(values) for values in ({"x": 1, "y": "a"}, {"x": 0.5}, {"x": 2, "y": "b"})]
    _, events = events_of(LOSSES[:3], propose=once(pool))
    write_parquet(to_frame(entries(events)), tmp_path / "i.parquet")
    back = read_parquet(tmp_path / "i.parquet")
    assert back["p.x"].dtype == np.float64
    assert back[back["p.x"] == 0.5]["p.y"].isna().all()


def test_damaged_events_are_named():
    for event in (
        {"event": "tell", "configuration": "none"},
        {"event": "pool", "configurations": [1]},
        {"event": "start"},
    ):
        with pytest.raises(JournalError, match=r"line 2 of the journal: the event .* is damaged"):
            to_frame(entries([{"event": "start", "experiment": {"seed": 7}}, event]))


@pytest.mark.parametrize(
    "damage",
    [
        {"measure": "../../evil"},
        {"measure": "Evil"},
        {"configuration": "../../../evil"},
        {"seed": 2**32},
        {"seed": "x"},
        {"numbers": None},
        {"numbers": {"a": "x"}},
        {"numbers": {}},
        {"tables": {"a": 1}},
        {"tables": {"a": [1]}},
        {"tables": {"a": [{"n": 10**30}]}},
        {"tables": {"a": [{"n": {}}]}},
        {"n_instances": -1},
        {"error": KeyError},
    ],
    ids=str,
)
def test_a_damaged_measure_is_an_error_that_names_its_line(damage):
    event = encode(Measured("curvature", "0123456789ab", 3, {"trace": math.inf}))
    assert read_measured(entries([event])) == [Measured("curvature", "0123456789ab", 3, {"trace": math.inf})]
    damaged = {name: value for name, value in {**event, **damage}.items() if value is not KeyError}
    for reader in (read_measured, to_frame):
        with pytest.raises(JournalError, match="line 2 of the journal"):
            reader(entries([{"event": "start", "experiment": {"seed": 7}}, damaged]))


def test_a_measures_files_stay_in_the_run_directory(tmp_path):
    id_ = pool_of(1)[0].id
    assert array_path(tmp_path, "curvature", id_).parent == figure_path(tmp_path, "curvature").parent
    for measure in ("../../evil", "/evil", "a/b", "", "a.b", "a\n", "a" * 101):
        with pytest.raises(JournalError, match="is the name of no measure"):
            figure_path(tmp_path, measure)
        with pytest.raises(JournalError, match="is the name of no measure"):
            array_path(tmp_path, measure, id_)
    for other in ("../evil", id_ + "0", id_.upper() + "\n", ""):
        with pytest.raises(JournalError, match="is the name of no configuration"):
            array_path(tmp_path, "curvature", other)


def test_a_stopped_instance_that_is_asked_again_has_one_row_the_last():
    journal = Memory()
    journal.write({"event": "start", "version": VERSION, "experiment": {"seed": 7}})
    stops = lambda running: int(isinstance(running, range))  # noqa: E731 - what is superfluous is stopped
    drive(make_race(LOSSES, journal=journal, seed=7, ahead=True), LOSSES, n_workers=8, choose=stops)
    stopped = to_frame(entries(journal.events)).query("status == 'STOPPED'")
    assert len(stopped) > 0
    race = make_race(LOSSES, journal=journal, seed=7, rule=("exhaustive", {"n_instances": 6}))
    race.replay(journal.entries)
    race.reopen(whole_pool=True)
    drive(race, LOSSES)
    frame = to_frame(entries(journal.events))
    assert not frame.duplicated(["configuration_id", "seed"]).any()
    assert set(frame.status) == {"COMPLETE"}
    assert race.state.counts["asked"] == race.state.counts["told"] == len(frame)
    assert race.state.counts["STOPPED"] == 0
    ended = [(e["configuration"], e["seed"]) for e in journal.events if e["event"] == "tell"]
    assert list(zip(frame.configuration_id, frame.seed, strict=True)) == ended


def test_a_place_where_nothing_can_be_written_is_a_clear_error(tmp_path):
    _, events = events_of(LOSSES)
    with pytest.raises(RunDirectoryError, match=r"cannot write"):
        write_parquet(to_frame(entries(events)), tmp_path / "none" / "instances.parquet")
