"""What `selection.py` prints: one table per family, one summary, and the targets, held or missed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from _selection_families import FAMILIES
from _selection_policies import Score
from _selection_workers import Run

LEVELS = (0.85, 0.95, 0.99)
STANDARD = {
    "exhaustive": "n=10",
    "halving": "warmup=5",
    "significance": "warmup=3",
    "sequential_halving": None,
    "top_two": "certified",
    "surrogate": "certified",
}
"""The setting of each policy whose risks the summary shows; None: the cheapest that reaches 95 %."""

MOST = (
    ("calo270", "top_two", 750),
    ("calo6912", "top_two", 9700),
    ("calo6912_structured", "surrogate", 2100),
    ("digits_1728", "surrogate", 604),  # .35 trainings per configuration
)
"""Family, policy, and the most instances with which it is to be within delta in .95."""

Group = list[Score]
Grouped = dict[str, dict[str, Group]]


def grouped(scores: list[Score]) -> dict[str, Grouped]:
    """Return family -> policy -> setting -> scores."""
    found: dict[str, Grouped] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for score in scores:
        found[score.family][score.outcome.policy][score.outcome.setting].append(score)
    return found


def n_mean(group: Group) -> float:
    return float(np.mean([s.outcome.n_instances for s in group]))


def p_within(group: Group) -> float:
    return float(np.mean([s.is_within for s in group]))


def reaching(settings: dict[str, Group], level: float) -> tuple[float, Group] | None:
    """Return the least mean number of instances with which a policy is within delta with probability `level`."""
    reached = [(n_mean(group), index) for index, group in enumerate(settings.values()) if p_within(group) >= level]
    if not reached:
        return None
    n, index = min(reached)
    return n, list(settings.values())[index]


def p_right(group: Group, of: str = "raced last") -> float:
    """Return the share that is within delta of the best of those that a claim is about, where it is not about all."""
    return float(np.mean([s.right.get(of, s.is_within) for s in group]))


def claims(group: Group) -> tuple[float, float, float] | None:
    """Return (share certified, mean claimed, share right among the certified)."""
    certified = [s for s in group if s.outcome.certified]
    if not certified:
        return None
    claimed = [s.outcome.claimed for s in certified if s.outcome.claimed is not None]
    return len(certified) / len(group), float(np.mean(claimed)), p_right(certified)


def _standard(policy: str, settings: dict[str, Group]) -> tuple[str, Group]:
    wanted = STANDARD.get(policy)
    for label, group in settings.items():
        if wanted is not None and label.endswith(wanted):
            return label, group
    reached = reaching(settings, 0.95)
    best = reached[1] if reached else max(settings.values(), key=p_within)
    return next(label for label, group in settings.items() if group is best), best


def _cell(settings: dict[str, Group], level: float) -> str:
    reached = reaching(settings, level)
    if reached is not None:
        return f"{reached[0]:.0f}"
    most = max(settings.values(), key=n_mean)
    return f"none by {n_mean(most):.0f}"


def print_family(name: str, policies: Grouped) -> None:
    """Print one family's table."""
    family = FAMILIES[name]
    n_replicates = {len(group) for settings in policies.values() for group in settings.values()}
    print(f"\n### {name}: {family.n_configurations} configurations, criterion {family.criterion}, ", end="")
    print(f"delta {family.delta:.0%}, replicates {', '.join(map(str, sorted(n_replicates)))}\n")
    print(
        "| policy | to 85 % | to 95 % | to 99 % | at setting | instances | P(best) | P(within delta) | worst regret |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for policy, settings in policies.items():
        label, group = _standard(policy, settings)
        best = np.mean([s.is_best for s in group])
        worst = max(s.regret for s in group)
        cells = " | ".join(_cell(settings, level) for level in LEVELS)
        numbers = f"{n_mean(group):.0f} | {best:.3f} | {p_within(group):.3f} | {100 * worst:+.1f} %"
        print(f"| {policy} | {cells} | {label} | {numbers} |")


def print_claims(families: dict[str, Grouped]) -> None:
    """Print claimed against actual confidence of the rules that claim one: without limit, and the default as it is."""
    print("\n### claimed against actual confidence, certified at .95\n")
    print(
        "| family | rule | certified | claimed, mean | actual | of the trained | of all | instances, mean (90 % "
        "below) | P(within), others |\n|---|---|---|---|---|---|---|---|---|"
    )
    for name, policy, group in _claiming(families):
        claim = claims(group)
        open_ = [s for s in group if not s.outcome.certified]
        rest = f"{p_within(open_):.3f} (n = {len(open_)})" if open_ else "-"
        spent = np.quantile([s.outcome.n_instances for s in group], 0.9)
        told = "0 | - | - | - | -"
        if claim:
            given = [s for s in group if s.outcome.certified]
            told = " | ".join(f"{one:.3f}" for one in (*claim, p_right(given, "trained"), p_within(given)))
        print(f"| {name} | {policy} | {told} | {n_mean(group):.0f} ({spent:.0f}) | {rest} |")


CLAIMING = {"top_two": "certified", "top_two, default": "as search sets it", "surrogate": "certified"}
"""The policies that claim a confidence, and at what setting they are asked for it."""


def _claiming(families: dict[str, Grouped]) -> Iterator[tuple[str, str, Group]]:
    for name, policies in families.items():
        for policy, setting in CLAIMING.items():
            if setting in policies[policy]:
                yield name, policy, policies[policy][setting]


def print_workers(runs: dict[tuple[str, int, str], Run]) -> None:
    """Print what the simulated clusters did."""
    print("\n### simulated workers (durations lognormal, mean 1, cv .3)\n")
    print("| family | workers | rule | instances | utilisation | makespan | of Algorithm 1's | P(within delta) |")
    print("|---|---|---|---|---|---|---|---|")
    for (family, n_workers, label), run in runs.items():
        share = run.makespan / runs[family, n_workers, "halving, as published"].makespan
        numbers = (
            f"{run.n_instances:.0f} | {run.utilisation:.2f} | {run.makespan:.2f} | {share:.2f} | {run.is_within:.2f}"
        )
        print(f"| {family} | {n_workers} | {label} | {numbers} |")


def targets(families: dict[str, Grouped], runs: dict[tuple[str, int, str], Run]) -> list[tuple[str, str, bool]]:
    """Return (target, measured, held) for every target that what was run can judge."""
    found = [
        *_on_budgets(families),
        *_on_claims(families),
    ]
    for (family, n_workers, label), run in runs.items():
        if n_workers == 64 and label == "top_two, certified":
            share = run.makespan / runs[family, 64, "halving, as published"].makespan
            found.append(
                (f"{family}, 64 workers: utilisation >= .75", f"{run.utilisation:.2f}", run.utilisation >= 0.75)
            )
            found.append((f"{family}, 64 workers: makespan <= .45 of Algorithm 1's", f"{share:.2f}", share <= 0.45))
    return found


def _on_budgets(families: dict[str, Grouped]) -> list[tuple[str, str, bool]]:
    found: list[tuple[str, str, bool]] = []
    if "cifar72" in families:
        ours, theirs = families["cifar72"]["top_two"], families["cifar72"]["halving"]
        for level, most in ((0.95, 125), (0.99, 180)):
            reached = reaching(ours, level)
            told = f"{reached[0]:.0f}" if reached else "never"
            found.append((f"cifar72 {level:.0%} at <= {most}", told, bool(reached and reached[0] <= most)))
        a, b = reaching(theirs, 0.95), reaching(ours, 0.95)
        ratio = a[0] / b[0] if a and b else 0.0
        found.append(("cifar72: 3 times fewer than Algorithm 1 at 95 %", f"{ratio:.2f}", ratio >= 3))
    for name, policy, most in MOST:
        group = families[name][policy]["certified"] if name in families else []
        if group:
            n, p, delta = n_mean(group), p_within(group), FAMILIES[name].delta
            target = f"{name}, {policy}: within {delta:.0%} >= .95 at <= {most}"
            found.append((target, f"{p:.3f} at {n:.0f}", p >= 0.95 and n <= most))
    if "calo6912" in families:
        group, other = families["calo6912"]["top_two"]["certified"], families["calo6912"]["halving"]["warmup=5"]
        if group and other:
            ratio, p, theirs = 41467 / n_mean(group), p_within(group), p_within(other)
            found.append(("calo6912: 4.3 times fewer than Algorithm 1", f"{ratio:.2f}", ratio >= 4.3))
            found.append(("calo6912: at no more risk than Algorithm 1", f"{p:.3f}, {theirs:.3f}", p >= theirs))
    return found


def _on_claims(families: dict[str, Grouped]) -> list[tuple[str, str, bool]]:
    found = []
    for name, policy, group in _claiming(families):
        claim = claims(group)
        if claim:
            target = f"{name}, {policy}: claimed .95 right >= .93"
            found.append((target, f"{claim[2]:.3f} of {claim[0]:.0%}", claim[2] >= 0.93))
    return found


def print_targets(found: list[tuple[str, str, bool]]) -> None:
    """Print the targets, held or missed."""
    print("\n### targets\n\n| target | measured | |\n|---|---|---|")
    for target, measured, held in found:
        print(f"| {target} | {measured} | {'held' if held else 'MISSED'} |")
