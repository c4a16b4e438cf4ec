"""The report: one HTML file of one race, finished or broken off, without any outside link."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import yaml
from markupsafe import Markup

from raysearch.analysis import figures_race, figures_space, plots, verdict
from raysearch.analysis.results import FARTHEST, Results, text_of
from raysearch.analysis.savings import Savings, duration, sentence
from raysearch.records import Status
from raysearch.storage.whole_file import whole

Content = plots.Figure | pd.DataFrame | str
"""What a section of a measure may hold: a figure, a table or a paragraph."""
N_ROWS = 200
"""Rows of a table that the page shows."""
N_ERRORS = 20
"""Kinds of errors that the page shows with their traceback."""
_PACKAGES = ("raysearch", "ray", "torch", "numpy", "scipy", "pandas", "mlflow", "optuna", "scikit-learn")


@dataclass(frozen=True)
class _Drawing:
    key: str
    draw: Callable[[Results, Savings], plots.Figure | None]
    wide: bool
    caption: str


DRAWINGS = (
    _Drawing(
        "losses",
        lambda results, _: figures_race.loss_boxes(results),
        True,
        "Losses of the configurations that lasted longest. Box: quartiles and median; whiskers: 1.5 interquartile "
        "ranges; dots: instances; diamond: the criterion. {order}",
    ),
    _Drawing(
        "trajectories",
        lambda results, _: figures_race.trajectories(results),
        True,
        "Criterion at the end of every round. Grey: eliminated; colours as above; dashes: the cutoff; "
        "what was above it left.",
    ),
    _Drawing(
        "instances",
        figures_race.instances_per_step,
        False,
        "Instances trained, by their number, on a log axis; the grey area is what exhaustive search would add.",
    ),
    _Drawing(
        "curves",
        lambda results, _: figures_race.learning_curves(results),
        False,
        "Loss by epoch of the leader's instances: each of them in grey, their median and quartiles in blue.",
    ),
    _Drawing(
        "criteria",
        lambda results, _: figures_space.criteria_curves(results),
        False,
        "Share of configurations with a criterion below x, over the instances that every configuration has.",
    ),
    _Drawing(
        "spread",
        lambda results, _: figures_space.spread_against_level(results),
        False,
        "Robust configurations are low and to the left: small losses that agree. Over the instances that all have.",
    ),
    _Drawing(
        "parameters",
        lambda results, _: figures_space.parameter_effects(results),
        True,
        "Criterion by value of a parameter, over the instances that every configuration has. The percentage is the "
        "share of the ranking that this parameter alone explains (epsilon squared, chance subtracted). Parameters may "
        "act together: shares need not add up.",
    ),
)


def write_report(
    path: Path | str,
    *,
    instances: pd.DataFrame,
    eliminations: Sequence[Any],
    rounds: Sequence[tuple[int, str, float]],
    verdict: Any,
    experiment: Mapping[str, Any],
    criterion: Any,
    experiment_text: str | None = None,
    environment: Mapping[str, str] | None = None,
    loss_label: str = "validation loss",
    measures: Sequence[tuple[str, Content]] = (),
    pareto: Sequence[Content] = (),
) -> Path:
    """Write the report of a race to `path` (aside first, then renamed) and return that path.

    The first six are those of `Results`; `verdict` is None where the race has not finished. `experiment_text`: the
    experiment file as it was; `environment`: versions by name, by default those of this process. `measures`: extra
    sections by title; sections with the same title are joined. `pareto`: what is to say of several objectives.
    """
    results = Results(instances, eliminations, rounds, verdict, experiment, criterion, loss_label)
    with np.errstate(over="ignore", invalid="ignore"):  # statistics of losses at the ends of floating point
        page = render(results, experiment_text, environment, measures, pareto)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as aside:
        aside.write_text(page, encoding="utf-8")
    return path


def render(
    results: Results,
    experiment_text: str | None = None,
    environment: Mapping[str, str] | None = None,
    measures: Sequence[tuple[str, Content]] = (),
    pareto: Sequence[Content] = (),
) -> str:
    """Return the page; arguments as in `write_report`."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    # every text is escaped: parameters, errors and names come from users and workers
    jinja = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    jinja.filters.update(number=verdict.number, cut=verdict.cut, text=text_of, duration=duration)
    script = jinja.get_template("report.js.j2").render()
    sections: dict[str, list[Content]] = {}
    for title, content in [*(("Several objectives", part) for part in pareto), *measures]:
        sections.setdefault(title, []).append(content)
    spent = verdict.spending(results)
    return jinja.get_template("report.html.j2").render(
        results=results,
        name=str(results.experiment.get("name") or "search"),
        spent=spent,
        spent_sentence=sentence(spent),
        **_verdict(results, spent),
        figures=_figures(results, spent),
        sections=[
            (title, [_part(title, i, part) for i, part in enumerate(parts)]) for title, parts in sections.items()
        ],
        farthest=f"{FARTHEST:g}",
        rows=_rows(results),
        n_rows=N_ROWS,
        statistics=[name for name in ("median", "q3", "iqr", "max") if name != results.criterion_name],
        failures=_failures(results.instances),
        experiment_text=experiment_text if experiment_text is not None else _yaml(results.experiment),
        environment=environment or _environment(),
        nodes=_nodes(results.instances),
        script=Markup(script),  # ours, and without values
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        written=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )


def _verdict(results: Results, spent: Savings) -> dict[str, Any]:
    interval = verdict.winners_interval(results)
    first, *rest = verdict.sentences(results, spent, interval)
    return {
        "headline": first,
        "sentences": rest,
        "interval": interval,
        "optimism": verdict.optimism(results.verdict) if results.verdict else None,
        "winner": results.parameters.get(results.leader or "", {}),
        "leader": results.table.iloc[0].to_dict() if len(results.table) else None,
    }


def _figures(results: Results, spent: Savings) -> list[dict[str, Any]]:
    names = figures_race.differing(results, results.finalists())
    order = f"Values beside an id are, in this order: {', '.join(names)}." if names else ""
    found: list[dict[str, Any]] = []
    for drawing in DRAWINGS:
        try:
            figure = drawing.draw(results.drawable, spent)
            image = None if figure is None else Markup(plots.svg(figure, drawing.key))
        except Exception as error:
            found.append({"wide": True, "missing": plots.left_out(drawing.key, error)})
        else:
            caption = drawing.caption.replace("{order}", order)
            found += [{"wide": drawing.wide, "caption": caption, "image": image}] if image is not None else []
    return found


def draw(results: Results, key: str) -> plots.Figure | None:
    """Return one figure of the report, None where there is nothing to draw; raises KeyError for an unknown key."""
    drawing = {drawing.key: drawing for drawing in DRAWINGS}[key]
    with np.errstate(over="ignore", invalid="ignore"):  # losses at the ends of floating point
        return drawing.draw(results.drawable, verdict.spending(results))


def _part(title: str, index: int, content: Content) -> dict[str, Any]:
    if isinstance(content, pd.DataFrame):
        head = content.head(N_ROWS)
        for name in head.columns[[pd.api.types.is_float_dtype(kind) for kind in head.dtypes]]:
            head = head.assign(**{name: _whole(head[name])})
        rows = [[row_name, *row] for row_name, row in zip(head.index, head.itertuples(index=False), strict=True)]
        named = head.index.name or not isinstance(head.index, pd.RangeIndex)
        return {
            "kind": "table",
            "columns": [*([head.index.name or ""] if named else []), *head.columns],
            "rows": rows if named else [row[1:] for row in rows],
            "n_left_out": len(content) - len(head),
        }
    if isinstance(content, str):
        return {"kind": "text", "text": content}
    try:
        if not plots.adapts(content):
            return {"kind": "image", "address": plots.data_uri(content)}
        salt = hashlib.sha256(f"{title}/{index}".encode()).hexdigest()[:12]
        return {"kind": "figure", "image": Markup(plots.svg(content, salt))}
    except Exception as error:
        return {"kind": "text", "text": plots.left_out(title, error)}


def _whole(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return whole numbers as such, with nothing behind the point."""
    whole = column.notna().all() and np.isfinite(column).all() and (column == column.round()).all()
    return column.astype(int) if whole and len(column) else column


def _rows(results: Results) -> list[dict[str, Any]]:
    head = results.table.head(N_ROWS).astype(object)
    rows: list[dict[Any, Any]] = head.where(head.notna(), None).to_dict("records")
    return [{**row, "rank": i, "label": results.label(row["configuration_id"])} for i, row in enumerate(rows, 1)]


def _failures(instances: pd.DataFrame) -> dict[str, Any]:
    bad = instances[instances["status"].isin([Status.FAILED, Status.DIVERGED])]
    errors = bad["error"].fillna("").astype(str).str.strip()
    last = errors.str.rsplit("\n", n=1).str[-1].str.slice(0, 300).where(errors != "", "the loss became NaN or infinite")
    kinds = [(str(status), str(line)) for status, line in zip(bad["status"], last, strict=True)]
    n_of = Counter(kinds)
    chosen = sorted(n_of, key=lambda kind: (kind[0] != Status.FAILED, -n_of[kind]))[:N_ERRORS]
    groups = []
    for status, line in chosen:
        rows = bad[[kind == (status, line) for kind in kinds]]
        groups.append(
            {
                "status": status,
                "line": line,
                "n": len(rows),
                "n_configurations": rows["configuration_id"].nunique(),
                "error": str(rows["error"].iloc[0] or "").strip()[-8000:],
                "examples": rows.head(8).to_dict("records"),
            }
        )
    return {
        "groups": groups,
        "n_kinds": len(n_of),
        "n_failed": int((bad["status"] == Status.FAILED).sum()),
        "n_diverged": int((bad["status"] == Status.DIVERGED).sum()),
        "n_all": len(instances),
    }


def _yaml(experiment: Mapping[str, Any]) -> str:
    plain = json.loads(json.dumps(dict(experiment), default=str))
    return str(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _nodes(instances: pd.DataFrame) -> list[tuple[str, int, float]]:
    by_node = instances.assign(node=instances["node"].fillna("").replace("", "not recorded")).groupby("node")["seconds"]
    return [(str(node), int(size), float(total)) for node, size, total in by_node.agg(["size", "sum"]).itertuples()]
