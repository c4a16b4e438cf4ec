"""The terminal: what the view says, how calm the lines are, and that both end clean."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from raysearch.errors import ExperimentError
from raysearch.records import Configuration, Phase, Progress
from raysearch.tracking import terminal
from raysearch.tracking.terminal import Terminal, render

BEST = Configuration.of({"conv1": 16, "lr": 0.001, "fc": [64, 9]})
MOMENT = Progress(
    4, 72, 9, 123, 2, 285, BEST, 0.02371, n_diverged=2, n_failed=1, elapsed_s=83, remaining_s=45, criterion="q3"
)


def drawn(progress: Progress, width: int = 100, **more: Any) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(render(progress, **more))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_view_says_what_people_ask_for() -> None:
    text = drawn(MOMENT, title="raysearch demo", events=["round 3: 9 eliminated"])
    for part in (
        "raysearch demo",
        "round 4",
        "123/285 instances, 2 running",
        "1:23, about 0:45 left",
        "9 of 72 configurations",
        f"q3 0.02371  {BEST.id}  conv1=16 lr=0.001 fc=64-9",
        "2 diverged · 1 failed",
        "round 3: 9 eliminated",
    ):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_view_keeps_its_height_at_any_width(width: int) -> None:
    lines = drawn(MOMENT, width, title="a long title " * 10, events=["a long event " * 20]).splitlines()
    assert len(lines) == 6
    assert max(map(len, lines)) <= width


def test_view_of_the_first_moment_has_no_incumbent_and_no_trouble() -> None:
    text = drawn(Progress(1, 72, 72, 0, 0, 285))
    assert "none yet" in text
    assert "nan" not in text
    assert "trouble" not in text


class Late:
    """A tracker that has so many records to write."""

    backlog, n_lost = 0, 0


def test_a_tracker_that_is_behind_is_shown_and_one_that_keeps_up_is_not(tmp_path: Path) -> None:
    late, told, view = Late(), io.StringIO(), Terminal(every_s=0)
    view.beside(late)  # type: ignore[arg-type]
    view.open({"name": "x"}, tmp_path, told)
    for late.backlog in (99, 4321, 7):
        view.progress(MOMENT)
    view.close()
    lines = [line for line in told.getvalue().splitlines() if "instances" in line]
    assert ["behind" in line for line in lines[:3]] == [False, True, True]
    assert "tracker 4,321 records behind" in lines[1]
    assert "tracker  4,321 records behind" in " ".join(drawn(MOMENT, n_behind=4321).split("   "))


def test_confirmation_is_named() -> None:
    assert "confirmation" in drawn(Progress(9, 4, 1, 20, 1, 30, BEST, 0.1, Phase.CONFIRMATION))


def plain(make_race: Any, every_s: float, tmp_path: Path) -> list[str]:
    out = io.StringIO()
    tracker = Terminal(every_s=every_s)
    race = make_race()
    tracker.open({"name": "small", "criterion": "q3", "rule": {"name": "halving"}}, tmp_path, out)
    verdict = race.race(tracker)
    tracker.finished(verdict, {}, None)
    tracker.close()
    return [line[10:] for line in out.getvalue().splitlines()]


def test_plain_lines_are_one_per_wave_and_few(make_race: Any, tmp_path: Path) -> None:
    lines = plain(make_race, 1000.0, tmp_path)
    assert lines[0] == "raysearch  small · q3 · halving"
    assert "instance 1 of " in lines[1]
    assert "failed after 3 attempts: ValueError: bad shape (3, 4)" in lines[1]
    assert lines[-1].startswith("winner ")
    assert [line.split(" (")[0] for line in lines if "eliminated" in line] == [
        "round 2: 4 eliminated",
        "round 3: 2 eliminated",
        "round 4: 1 eliminated",
    ]
    assert len(lines) <= 7
    assert "\x1b" not in "".join(lines), "no control characters in a log"


def test_plain_progress_lines_come_at_their_pace(make_race: Any, tmp_path: Path) -> None:
    assert any("instances" in line for line in plain(make_race, 0.0, tmp_path))


def test_live_view_ends_and_leaves_its_last_state(make_race: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        terminal, "Console", lambda file: Console(file=file, force_terminal=True, width=100, legacy_windows=False)
    )
    out = io.StringIO()
    tracker = Terminal()
    tracker.open({"name": "small"}, tmp_path, out)
    tracker.progress(MOMENT)
    tracker.close()
    tracker.progress(MOMENT)  # after the end: no view, no error
    text = out.getvalue()
    assert "9 of 72 configurations" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1, "the cursor comes back"


def test_a_reader_that_went_away_does_not_end_the_race(tmp_path: Path) -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    tracker = Terminal(every_s=0.0)
    tracker.open({"name": "small"}, tmp_path, Gone())
    tracker.progress(MOMENT)
    tracker.close()


def test_bad_pace_is_refused() -> None:
    with pytest.raises(ExperimentError, match="every_s must be at least 0, got -1"):
        Terminal(every_s=-1)
