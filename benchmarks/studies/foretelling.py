"""Study 4: which cheap number of one instance foretells the spread and the level of many?

    python benchmarks/studies/foretelling.py [--size quick|small|full]

One more instance of every configuration is measured; its numbers are held against the spread and the median of the
configuration's recorded instances. Then races are steered by the best number, on recorded trainings, at equal cost.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import _tables
import numpy as np
import pandas as pd
from _frame import Array, Bench, main
from _numbers import Estimate, of_rows
from _page import Page
from _tables import Size
from scipy import stats

from raysearch.analysis import plots
from raysearch.registry import load

NAME = "foretelling"
MEASURES = ("curvature", "noise_resilience", "adversarial", "corruption", "generalization_gap", "calibration")
NUMBERS = {
    "its loss": "loss",
    "loss on its sample": "train_loss",
    "instability over epochs": "epoch_instability",
    "curvature": "curvature.top_eigenvalue",
    "noise resilience": "noise_resilience.rise",
    "FGSM error": "adversarial.fgsm_error",
    "ENI": "adversarial.eni",
    "corruption error": "corruption.mean_error",
    "miscalibration": "calibration.miscalibration",
    "generalization gap": "generalization_gap.gap",
}


SIZES = {
    "quick": Size(("fashion",), 20, 10, 3),
    "small": Size(("fashion",), 10, 20, 20),
    "full": Size(("fashion", "showers"), 40, 40, 40),
}


def study(bench: Bench, size: Size) -> Page:
    findings, tables, drawn = [], {}, {}
    for name in size.jobs:
        job = _tables.jobs(bench.size)[name]
        table = _tables.recorded(bench, name, size.n_search, size.n_held_out)
        measures = [{"name": one, "of": "all"} for one in MEASURES]
        one = bench.instances(f"{name}-measured", job.workload, job.space, 1, seed=1, measures=measures)
        numbers = _numbers_of(one)
        truth = {"std": table.held_out.std(axis=1, ddof=1), "median": np.median(table.held_out, axis=1)}
        sound = np.isfinite(truth["std"]) & np.isfinite(numbers["its loss"])
        rows = [_row(shown, own, numbers["its loss"], truth, sound) for shown, own in numbers.items()]
        n = int(sound.sum())
        tables[f"{job.title}: Spearman's rho over {n} configurations, {table.held_out.shape[1]} instances each"] = rows
        drawn[job.title] = rows
        best = max(rows, key=lambda row: abs(row["rho"][2].value) if row["number"] != "its loss" else -1)
        kept = best["rho"][2]
        verdict = "excludes" if kept.low > 0 or kept.high < 0 else "holds"
        findings.append(
            f"{job.title}: given the loss, the best foreteller of the std is {best['number']}, partial rho {kept}: the "
            f"interval {verdict} zero (it was chosen among {len(rows) - 1}, which the interval does not know)."
        )
        findings += _steered(table, job.title, size)
    shown = {caption: [_shown(row) for row in rows] for caption, rows in tables.items()}
    return Page(
        "What foretells robustness",
        "Can one cheap training tell how much the others will vary?",
        "Local instability, curvature, noise resilience and others are proposed as signs of robustness; how they rank "
        "as forecasts of the spread over instances is not published.",
        _figure(drawn),
        findings,
        shown,
        [
            "Intervals: bootstrap over configurations. Partial: rank correlation of what the loss's ranks leave over. "
            f"The {size.n_searches} steered races draw on the same {size.n_search} recorded instances of each "
            "configuration in different orders; the others judge.",
        ],
    )


def _numbers_of(table: pd.DataFrame) -> dict[str, Array]:
    """Return the cheap numbers by configuration, in the order of `matrix`; those that no instance has are left out."""
    ordered = table.sort_values("configuration_id")
    metrics = [json.loads(text) for text in ordered["metrics"]]
    found = {"its loss": ordered["loss"].to_numpy(dtype=float)}
    for shown, name in NUMBERS.items():
        own = np.asarray([one.get(name, np.nan) for one in metrics], dtype=float)
        if name != "loss" and np.isfinite(own).mean() > 0.8:
            found[shown] = own
    return found


def _row(shown: str, own: Array, loss: Array, truth: dict[str, Array], sound: Array) -> dict[str, object]:
    kept = sound & np.isfinite(own)
    own, loss, spread, level = own[kept], loss[kept], truth["std"][kept], truth["median"][kept]
    rho = [of_rows(_rho, own, level), of_rows(_rho, own, spread)]
    rho.append(
        of_rows(_partial, own, spread, loss) if shown != "its loss" else Estimate(np.nan, np.nan, np.nan, len(own))
    )
    return {"number": shown, "rho": rho}


def _shown(row: dict[str, object]) -> dict[str, object]:
    level, spread, partial = row["rho"]  # type: ignore[misc]
    given = "" if np.isnan(partial.value) else str(partial)
    return {"of one instance": row["number"], "with the median": level, "with the std": spread, "std given loss": given}


def _rho(a: Array, b: Array) -> float:
    ranks = np.asarray([stats.rankdata(a), stats.rankdata(b)])
    return float(np.corrcoef(ranks)[0, 1]) if ranks.std(axis=1).min() else np.nan


def _partial(a: Array, b: Array, given: Array) -> float:
    ab, ag, bg = _rho(a, b), _rho(a, given), _rho(b, given)
    return float((ab - ag * bg) / np.sqrt(max((1 - ag**2) * (1 - bg**2), 1e-12)))


# ---- used


def _steered(table: _tables.Table, title: str, size: Size) -> list[str]:
    """Return what races steered by the instability over epochs, or by it and the loss, end with."""
    from _selection_policies import drive

    unrest = table.metric("epoch_instability")[:, : table.n_search]
    unrest = np.where(np.isfinite(unrest), unrest, np.inf)
    rule, criterion = load("rules", "halving", warmup=3), load("criteria", "q3")
    q3, std = np.quantile(table.held_out, 0.75, axis=1), table.held_out.std(axis=1, ddof=1)
    winners: dict[str, list[int]] = {"loss": [], "instability": [], "both": []}
    for seed in range(size.n_searches):
        order = np.random.default_rng(seed).permutation(table.n_search)
        losses, other = table.seen[:, order], unrest[:, order]
        steering = {"loss": losses, "instability": other, "both": _standard(losses) + _standard(other)}
        for name, matrix in steering.items():
            verdict, _ = drive(rule, replace(table, losses=matrix), criterion)
            winners[name].append(int(verdict.leader))
    sentences = []
    for name in ("instability", "both"):
        found = {
            what: of_rows(lambda a, b: float(np.mean(a) / np.mean(b)), own[winners[name]], own[winners["loss"]])
            for what, own in (("Q3", q3), ("std", std))
        }
        by = "the instability over epochs" if name == "instability" else "both, standardised and added,"
        sentences.append(
            f"{title}: halving by {by} instead of the loss ends with Q3 {found['Q3']} and std {found['std']} times "
            f"those of the plain race ({size.n_searches} searches; Q3: {found['Q3'].tells(1)}; "
            f"std: {found['std'].tells(1)})."
        )
    return sentences


def _standard(values: Array) -> Array:
    finite = values[np.isfinite(values)]
    return (values - np.median(finite)) / max(float(finite.std()), 1e-12)


@plots.styled
def _figure(drawn: dict[str, Sequence[dict[str, object]]]) -> plots.Figure:
    figure, panels = plots.canvas(5.6 * len(drawn), 4.2, columns=len(drawn))
    for axes, (title, rows) in zip(panels, drawn.items(), strict=True):
        for place, label, color in (
            (0, "median", plots.GREY),
            (1, "std", plots.PALETTE[0]),
            (2, "std given loss", plots.PALETTE[1]),
        ):
            for y, row in enumerate(rows):
                one = row["rho"][place]  # type: ignore[index]
                if not np.isnan(one.value):
                    spot = y + 0.22 * (place - 1)
                    axes.hlines(spot, one.low, one.high, color=color, lw=1.4)
                    axes.plot(one.value, spot, "o", ms=4, color=color, label=label if y == min(place, 1) else None)
        axes.axvline(0, color=plots.GREY, lw=0.8)
        axes.set_yticks(range(len(rows)), [str(row["number"]) for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(-1.02, 1.02)
        axes.set_xlabel("Spearman's rho, 95 %")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=3)
        plots.title(axes, title, 50, f"n = {rows[0]['rho'][0].n} configurations")  # type: ignore[index]
    return figure


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
