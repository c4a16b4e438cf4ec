"""A search's result in a notebook: the verdict as a small page, and the report's figures one by one."""

from __future__ import annotations

import html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raysearch.analysis import report
from raysearch.analysis.figures_measures import figure
from raysearch.analysis.results import Results, text_of
from raysearch.analysis.verdict import number, sentences, spending, winners_interval
from raysearch.criteria.objectives import parse
from raysearch.driver import finish
from raysearch.driver.replayed import race_of
from raysearch.errors import unknown
from raysearch.storage.instances import to_frame

if TYPE_CHECKING:
    from raysearch.driver.run import SearchResult


def plot(run_dir: Path, name: str) -> Any:
    """Return a figure of the report as a `matplotlib.figure.Figure`, None where there is nothing to draw.

    A measure's figure has the measure's name. Raises UnknownNameError for a name that no figure of the search has.
    """
    known = [drawing.key for drawing in report.DRAWINGS]
    if name in known:
        return report.draw(_results(run_dir), name)
    race, experiment, history = race_of(run_dir)
    measured = finish.measured_of(experiment, race.state, history)
    names = {one.measure for one in measured}
    if name not in names:
        raise unknown("figure", name, [*known, *names])
    return figure([one for one in measured if one.measure == name], run_dir)


def page(result: SearchResult) -> str:
    """Return the winner, its interval and the box plots of those that lasted longest, as HTML."""
    from raysearch.analysis import plots

    results = _results(result.run_dir)
    said = sentences(results, spending(results), winners_interval(results))
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td style='text-align:left'>"
        f"{html.escape(text_of(value))}</td></tr>"
        for name, value in result.verdict.winner.parameters.items()
    )
    judged = result.verdict.confirmation or result.verdict.race
    boxes = report.draw(results, "losses")
    image = "" if boxes is None else f"<img style='max-width:100%' alt='box plots' src='{plots.data_uri(boxes, 90)}'>"
    return (
        f"<div><b>{html.escape(result.verdict.criterion)} {number(judged.criterion)}</b>, configuration "
        f"<code>{result.verdict.winner.id}</code><table>{rows}</table>"
        f"<ul>{''.join(f'<li>{html.escape(one)}</li>' for one in said)}</ul>{image}</div>"
    )


def _results(run_dir: Path) -> Results:
    race, experiment, history = race_of(run_dir)
    end = finish.verdict_of(race, experiment) if race.done else None
    data = experiment.model_dump(mode="json")
    return Results(
        to_frame(history),
        race.state.eliminations,
        finish.rounds(race.state, race.criterion),
        end,
        data,
        race.criterion,
        parse(data["criterion"]).metric or "validation loss",
    )
