"""The live page's table of finalists, at every moment of a real search."""

import json

import pytest

from raysearch.analysis.live import LiveRace
from raysearch.analysis.live_sections import sections
from raysearch.driver.run import run
from raysearch.driver.watch import race_of
from raysearch.experiment.experiment import from_data

DATA = {
    "name": "confirmed",
    "seed": 3,
    "workload": "synthetic",
    "space": {"level": [0.1, 0.11, 0.3, 0.5], "spread": [0.01]},
    "criterion": "median",
    "rule": {"name": "halving", "warmup": 2},
    "execution": "local",
    "tracking": None,
}


def searched(folder, **race):
    found = run(from_data({**DATA, "race": race}), folder)
    return found.verdict, (folder / "journal.jsonl").read_text().splitlines(keepends=True)


def shown(path):
    live = LiveRace(path, race_of)
    while live.read():
        pass
    return json.loads(json.dumps(sections(live)["finalists"], allow_nan=False))


@pytest.fixture
def moments(tmp_path):
    """The verdict of a search with three finalists, and its table after every event."""
    verdict, lines = searched(tmp_path / "run", confirm=30, finalists=3)
    part, found = tmp_path / "part.jsonl", []
    for n in range(1, len(lines) + 1):
        part.write_text("".join(lines[:n]))
        found.append(shown(part))
    return verdict, found


def test_the_table_says_how_the_finalists_stand_until_one_has_won(moments):
    verdict, tables = moments
    assert all(table["n_wanted"] == 3 and table["n_instances"] == 30 for table in tables)
    assert tables[0]["rows"] == []
    confirming = [table for table in tables if table["rows"] and not table["chosen"]]
    assert {row["status"] for row in confirming[0]["rows"]} == {"to be confirmed"}
    assert all(row["raced"] is not None for row in confirming[0]["rows"])
    assert len({json.dumps(table) for table in confirming}) > 60, "it follows every instance"
    told = [one for one in verdict.finalists if one.separated]
    assert told, "the search is one in which a finalist is told from the best"
    last = tables[-1]["rows"]
    assert [row["id"] for row in last] == [one.configuration_id for one in verdict.finalists]
    assert last[0]["status"] == "winner"
    for row, one in zip(last, verdict.finalists, strict=True):
        assert (row["place"], row["n"]) == (one.place, one.fresh.n_instances)
        assert row["value"] == pytest.approx(one.fresh.criterion, rel=1e-5)
        assert (row["low"], row["high"]) == pytest.approx(one.fresh.interval, rel=1e-5)
        if one.separated:
            assert row["status"] == f"told from the best after {one.fresh.n_instances}"
            assert row["p"] == pytest.approx(one.p, rel=1e-5)


def test_a_winner_confirmed_alone_has_no_table(tmp_path):
    searched(tmp_path / "run", confirm=3)
    assert shown(tmp_path / "run/journal.jsonl") == {
        "rows": [],
        "n": 0,
        "n_wanted": 0,
        "n_instances": 3,
        "chosen": False,
    }


def test_a_journal_that_knows_no_finalists_is_shown(tmp_path):
    _, lines = searched(tmp_path / "run", confirm=3)
    start = json.loads(lines[0])
    assert start["experiment"]["race"].pop("finalists") == 1
    old = tmp_path / "old.jsonl"
    old.write_text("".join([json.dumps(start) + "\n", *lines[1:]]))
    assert shown(old)["n_wanted"] == 0
