"""Draw the pictures of criteria.md: what each criterion and each rule does to the same losses.

python docs/pictures.py        writes docs/criteria.svg and docs/rules.svg, the same bytes every time
"""

import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "raysearch", "font.size": 9})

import numpy as np  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

import raysearch  # noqa: E402
from raysearch import registry  # noqa: E402

HERE = Path(__file__).parent
CRITERIA = ("min", "mean", "median", "q3", "q3_plus_iqr", "max", "std")
RULES = {
    "exhaustive, 12 each": {"name": "exhaustive", "n_instances": 12},
    "halving, warmup 3": {"name": "halving", "warmup": 3},
    "sequential_halving, 72 in all": {"name": "sequential_halving", "budget": 72},
    "significance, Welch": {"name": "significance", "warmup": 3, "max_instances": 12},
    "top_two, delta 5 %": {"name": "top_two", "delta": 0.05, "certify": 12, "cap": 24, "budget": 120, "window": 1},
    "surrogate, delta 5 %": {
        "name": "surrogate", "delta": 0.05, "start": 8, "batch": 2, "finalists": 4, "certify": 12, "cap": 24,
        "window": 1,
    },
}  # fmt: skip
N, COLUMNS = 16, 24
INK, BLUE, RED, GREY = "#30343b", "#3568b8", "#c4472f", "#8a9099"


def draws(level: float, spread: float, bad: float, seed: int, n: int = 40) -> np.ndarray:
    """Return `(n,)` losses: normal about a level, and a share of instances in a bad mode."""
    generator = np.random.default_rng(seed)
    losses = level + spread * generator.standard_normal(n)
    return losses + np.where(generator.random(n) < bad, 0.5, 0.0)


def criteria() -> None:
    """Draw five configurations of 40 losses each, and where each criterion sees them."""
    configurations = {
        "A: low, but a third fails": draws(0.30, 0.03, 0.35, 1),
        "B: low, wide": draws(0.36, 0.10, 0.0, 2),
        "C: a little higher, narrow": draws(0.38, 0.045, 0.0, 3),
        "D: higher, narrowest": draws(0.43, 0.01, 0.0, 4),
        "E: high, and wide": draws(0.50, 0.12, 0.0, 5),
    }
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1.5, 1), sharey=True)
    jitter = np.random.default_rng(0).uniform(-0.22, 0.22, 40)
    values = np.array([[registry.load_section("criteria", c)(x) for c in CRITERIA] for x in configurations.values()])
    for row, losses in enumerate(configurations.values()):
        left.scatter(losses, row + jitter, s=7, color=GREY, linewidths=0)
        q1, median, q3 = np.quantile(losses, (0.25, 0.5, 0.75))
        left.plot([q1, q3], [row, row], color=BLUE, linewidth=5, solid_capstyle="butt", alpha=0.45)
        left.plot([median], [row], "|", color=BLUE, markersize=13, markeredgewidth=2)
        for column, value in enumerate(values[row]):
            best = row == values[:, column].argmin()
            right.text(
                column, row, f"{value:.2f}".lstrip("0"), ha="center", va="center", fontsize=8,
                color="white" if best else INK, bbox={"boxstyle": "square", "fc": RED if best else "none", "lw": 0},
            )  # fmt: skip
    left.set_yticks(range(len(configurations)), list(configurations))
    left.invert_yaxis()
    left.set_xlabel("loss of an instance")
    left.set_title("40 instances each: quartiles and median", fontsize=9)
    right.set_xlim(-0.6, len(CRITERIA) - 0.4)
    right.set_xticks(range(len(CRITERIA)), CRITERIA, rotation=45, ha="right")
    right.set_title("criterion; red: the smallest", fontsize=9)
    right.tick_params(left=False)
    for axes in (left, right):
        for side in axes.spines.values():
            side.set_visible(axes is left and side is left.spines["bottom"])
    save(figure, "criteria.svg")


def train(config: dict[str, int], seed: int) -> float:
    """Return a loss that grows with a configuration's place, and scatters from seed to seed."""
    generator = np.random.default_rng([seed, config["place"]])
    return float(0.3 + 0.02 * config["place"] + 0.03 * generator.standard_normal())


def rules() -> None:
    """Draw which instances each rule trains, of 16 configurations that lie in the order of their quality."""
    figure = Figure(figsize=(7.2, 4.9), layout="constrained")
    for axes, (title, rule) in zip(figure.subplots(2, 3, sharex=True, sharey=True).flat, RULES.items(), strict=True):
        with tempfile.TemporaryDirectory() as folder:
            result = raysearch.search(
                train, space={"place": list(range(1, N + 1))}, criterion="median", rule=rule, confirm=0,
                execution="local", tracking=None, run_dir=Path(folder) / "run", progress=False,
            )  # fmt: skip
            table = result.instances
        winner = result.verdict.winner.parameters["place"]
        for mine, colour in ((False, BLUE), (True, RED)):
            some = table[(table["p.place"] == winner) == mine]
            axes.plot(some["instance"] + 1, some["p.place"], "s", color=colour, markersize=4.2, markeredgewidth=0)
        axes.set_facecolor("#f1f2f4")
        axes.set_xlim(0.3, COLUMNS + 0.7)
        axes.set_ylim(0.3, N + 0.7)
        axes.invert_yaxis()
        claim = {None: "no claim", True: "certified", False: "not certified"}[result.verdict.certified]
        axes.set_title(f"{title}\n{len(table)} trainings, {claim}", fontsize=9)
        axes.set_yticks([1, N], ["best", "worst"])
        axes.set_xticks([1, 12, 24])
        for side in axes.spines.values():
            side.set_visible(False)
        print(title, len(table), "winner", winner, result.verdict.certified, result.verdict.note[:100])
    figure.supxlabel("instance of a configuration", fontsize=9)
    figure.supylabel("configuration", fontsize=9)
    save(figure, "rules.svg")


def save(figure: Figure, name: str) -> None:
    """Write a figure as SVG on white, without the date."""
    figure.savefig(HERE / name, metadata={"Date": None}, facecolor="white")


if __name__ == "__main__":
    criteria()
    rules()
