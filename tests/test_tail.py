"""A journal read as it grows gives what one reading of the whole gives, each event once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from races import drive, make_race

from raysearch.errors import JournalError
from raysearch.storage.decoding import entries
from raysearch.storage.journal import Journal, read
from raysearch.storage.tail import Tail

START = {"event": "start", "version": 1, "raysearch": "0", "experiment": {"seed": 0}, "t": 1.0}


@pytest.fixture(scope="module")
def journal(tmp_path_factory):
    path = tmp_path_factory.mktemp("tail") / "journal.jsonl"
    losses = np.random.default_rng(0).normal(1, 0.1, (6, 20))
    losses[2, 1] = np.inf
    with Journal(path) as open_journal:
        open_journal.write({key: value for key, value in START.items() if key != "t"}, 1.0)
        race = make_race(losses, journal=open_journal, confirm=2)
        drive(race, losses, fails=lambda key, attempt: attempt == 1 and key.seed % 5 == 0)
    return path


def everything(tail):
    found = []
    while news := tail.more(200):
        found += news
    return found


def test_parts_are_the_whole(journal):
    tail = Tail(journal)
    whole = list(entries(read(journal)))
    assert everything(tail) == whole
    assert tail.share == 1.0
    assert tail.more() == []


@given(st.data())
def test_a_line_counts_once_it_is_whole(journal, tmp_path_factory, data):
    content = journal.read_bytes()
    ends = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=4)))
    path = tmp_path_factory.getbasetemp() / "growing.jsonl"
    path.write_bytes(b"")
    tail, found = Tail(path), []
    for end in [*ends, len(content)]:
        path.write_bytes(content[:end])
        found += everything(tail)
        assert len(found) == content[:end].count(b"\n")
    assert found == list(entries(read(journal)))


@pytest.mark.parametrize("instead", ["cut", "another", "another, as long"])
def test_a_file_that_is_not_the_one_read_before_is_read_anew(journal, tmp_path, instead):
    content = journal.read_bytes()
    path = tmp_path / "journal.jsonl"
    path.write_bytes(content)
    tail = Tail(path)
    everything(tail)
    lines = content.splitlines(keepends=True)
    other = {
        "cut": b"".join(lines[:-1]),
        "another": lines[0] + lines[1],
        "another, as long": b"".join([*lines[:-1], lines[-1].replace(b'"t":1', b'"t":2')]),
    }[instead]
    assert other != content
    path.write_bytes(other)
    assert tail.more() is None
    assert everything(tail) == list(entries(read(path)))


def test_damage_names_its_line_and_a_missing_journal_its_path(journal, tmp_path):
    path = tmp_path / "journal.jsonl"
    with pytest.raises(JournalError, match=r"cannot read the journal .*journal\.jsonl"):
        Tail(path).more()
    path.write_text(json.dumps(START) + "\n{}\n")
    with pytest.raises(JournalError, match="line 2"):
        Tail(path).more()
    path.write_text(json.dumps(START) + "\n" + json.dumps({"event": "lost", "t": 1.0}) + "\n")
    with pytest.raises(JournalError, match=r"line 2 of the journal.*damaged"):
        Tail(path).more()
