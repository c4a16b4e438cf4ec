import dataclasses
import math

import numpy as np
import pandas as pd

from raysearch.records import Phase


def test_matrix_has_finished_instances_first_and_nan_behind(race):
    results = race(72, 3, 10)
    assert results.matrix.shape == (72, 8)
    assert np.count_nonzero(~np.isnan(results.matrix)) == 72 * 3 + 36 + 18 + 9 + 4 + 2
    n = np.count_nonzero(~np.isnan(results.matrix), axis=1)
    assert all(not np.isnan(row[:k]).any() for row, k in zip(results.matrix, n, strict=True))
    assert results.n_common == 3


def test_order_of_rows_in_the_file_changes_nothing(race):
    results = race(72, 3, 10)
    shuffled = dataclasses.replace(results, instances=results.instances.sample(frac=1, random_state=3))
    assert shuffled.finalists(8) == results.finalists(8)
    pd.testing.assert_frame_equal(
        shuffled.table.set_index("configuration_id").sort_index(),
        results.table.set_index("configuration_id").sort_index(),
    )


def test_table_lists_the_winner_then_the_last_out(race):
    results = race(72, 3, 10)
    table = results.table
    assert table["configuration_id"].iloc[0] == results.verdict.winner.id
    assert table["status"].tolist() == ["winner"] + ["eliminated"] * 71
    assert table["round"].iloc[1:].is_monotonic_decreasing
    assert table["round"].isna().tolist() == [True] + [False] * 71
    assert results.losses(results.leader, Phase.CONFIRMATION).shape == (10,)


def test_an_open_race_is_led_by_the_best_survivor(race):
    results = race(72, 3, finish=False)
    survivors = results.table[results.table["status"] == "survivor"]
    assert len(survivors) == 36
    assert results.leader == survivors.sort_values("criterion")["configuration_id"].iloc[0]


def test_stopped_instances_count_for_nothing_and_lost_ones_as_inf(race):
    results = race(8, 1, 0, diverge=0.0)
    rows = results.instances.copy()
    rows.loc[0, ["status", "loss"]] = ["STOPPED", math.nan]
    rows.loc[1, ["status", "loss"]] = ["FAILED", math.nan]
    changed = dataclasses.replace(results, instances=rows)
    first, second = rows["configuration_id"].iloc[:2]
    assert len(changed.losses(first)) == len(results.losses(first)) - 1
    assert changed.losses(second)[0] == math.inf


def test_labels_show_only_what_varies(race):
    results = race(72, 3, 10)
    assert "epochs" not in results.varied
    assert "learning_rate=0.001" in results.label(results.leader) or "learning_rate=0.000" in results.label(
        results.leader
    )
    assert "epochs" not in results.label(results.leader)


def test_nothing_trained(race):
    results = race(8, 1, 0)
    empty = dataclasses.replace(results, instances=results.instances.iloc[:0], verdict=None, eliminations=[], rounds=[])
    assert empty.leader is None
    assert empty.finalists() == []
    assert empty.n_common == 0


def test_rounds_before_the_first_cut_are_added(race):
    results = race(72, 3, 0)
    late = dataclasses.replace(results, rounds=[entry for entry in results.rounds if entry[0] >= 3])
    assert sorted(late.scored) == sorted(results.scored) == sorted(results.rounds)
    none = dataclasses.replace(results, rounds=[], eliminations=[], verdict=None)
    assert sorted(none.scored) == sorted(entry for entry in results.rounds if entry[0] <= 3)
    other = [dataclasses.replace(cut, round=cut.round - 2) for cut in results.eliminations]
    assert dataclasses.replace(late, eliminations=other).scored == late.rounds
