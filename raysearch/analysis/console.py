"""What the command line prints: plans, verdicts, states of runs. Text and tables, no decisions.

Names, values and paths are a user's: whatever holds them goes out by `say`, or as Text, so that Rich reads no markup
and no emoji in them.
"""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from raysearch.analysis.finalists import command, contradiction, number
from raysearch.analysis.savings import duration
from raysearch.analysis.verdict import cut
from raysearch.race.verdict import best_of
from raysearch.records import Finalist, Plan, Progress, Summary, Verdict

_NUMBERS = re.compile(r"\b(0x)?[0-9a-f]*[0-9][0-9a-f]*\b")
_N_ERRORS, _N_LINES, _ERROR_WIDTH = 10, 60, 200
"""Of failures: kinds that are listed, lines of the traceback that is shown, and characters of a kind."""


def say(console: Console, text: str, *, soft_wrap: bool = False) -> None:
    """Print a text as it is; `soft_wrap` leaves long lines whole, for what a user may copy."""
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=soft_wrap)


@contextlib.contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str, int, int | None], None]]:
    """Show on a terminal, and nowhere else, what is being done, how much of it is, and of how much, if that is known.

    It goes with the block.
    """
    if not console.is_terminal:
        yield lambda doing, n_done, n: None
        return
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}")
    with Bar(*columns, console=console, transient=True) as bar:
        bar.add_task("", total=None, count="")
        [task] = bar.tasks

        def show(doing: str, n_done: int, n: int | None) -> None:
            if doing != task.description:
                bar.reset(task.id, total=n, description=doing)
            left = "" if task.time_remaining is None else f", {duration(task.time_remaining)} left"
            bar.update(task.id, completed=n_done, count="" if n is None else f"{n_done:,} of {n:,}{left}")

        yield show


def print_plan(console: Console, name: str, plan: Plan, rule: str) -> None:
    """Print what a search will cost."""
    least, most = plan.n_instances
    table = Table(title=f"Plan of {name}", title_justify="left", show_header=False, box=None, pad_edge=False)
    waves = f" in waves of {plan.wave}" if plan.wave < plan.n_configurations else ""
    table.add_row("configurations", f"{plan.n_configurations}{waves}")
    ours = str(least) if least == most else f"{least} to {most}, depending on the losses"
    table.add_row(Text(f"instances by {rule}"), ours)
    if plan.finalists > 1:
        table.add_row("of them confirmed", f"{plan.finalists} configurations, on the same fresh seeds")
    table.add_row("instances by exhaustive search", str(plan.n_exhaustive))
    share = f"{plan.n_exhaustive / most:.1f} times fewer" if most < plan.n_exhaustive else "no saving"
    table.add_row("saving", share if least == most else f"at least {share}" if most < plan.n_exhaustive else "open")
    if plan.n_epochs:
        table.add_row("epochs per instance", str(plan.n_epochs))
    console.print(table)
    for one in plan.learnt:
        say(console, f"learns {one}", soft_wrap=True)


def print_verdict(console: Console, verdict: Verdict, interval: tuple[float, float] | None) -> None:
    """Print the winner, its criterion from race and confirmation, and what was spent."""
    console.print(f"\n[bold]Winner[/bold] {verdict.winner.id}")
    for name, value in verdict.winner.parameters.items():
        say(console, f"  {name} = {value}")
    table = _table("", "instances", verdict.criterion, "median", "Q3", "IQR", "max")
    table.add_row("race, optimistic", *_cells(verdict.race))
    if verdict.confirmation is not None:
        table.add_row("fresh seeds", *_cells(verdict.confirmation))
    console.print(table)
    print_finalists(console, verdict.finalists, verdict.criterion)
    if interval is not None:
        low, high = number(interval[0]), number(interval[1])
        say(console, f"95 % interval of the confirmed {verdict.criterion}: {low} to {high}")
    if verdict.test_median is not None:
        what = verdict.of or "loss"
        say(console, f"median {what} on test examples, which steered nothing: {number(verdict.test_median)}")
    if verdict.probability is not None:
        claim = "certified" if verdict.certified else "not certified"
        best = best_of(verdict)
        within = f"P(within {100 * verdict.delta:.3g} % of {best})" if verdict.delta is not None else "P"
        n = verdict.race.n_instances
        say(console, f"{claim}: {within} = {cut(verdict.probability)} after {n} instances of the winner")
    if verdict.note:
        say(console, verdict.note)
    if len(verdict.indistinguishable) > 1:
        others = ", ".join(i for i in verdict.indistinguishable if i != verdict.winner.id)
        say(console, f"cannot be told apart from: {others}")
    if verdict.pareto:
        _print_pareto(console, verdict)
    epochs = f" ({verdict.n_epochs} epochs)" if verdict.n_epochs else ""
    untrained = f", {verdict.n_untrained} of them never trained" if verdict.n_untrained else ""
    spent = f"{verdict.n_instances} instances{epochs} for {verdict.n_configurations} configurations{untrained}"
    say(console, f"Spent {spent};\nexhaustive search: {verdict.n_exhaustive}.")


def print_finalists(console: Console, finalists: Sequence[Finalist], criterion: str) -> None:
    """Print what finalists showed on the same fresh seeds, the best first; nothing where there is but one."""
    if len(finalists) < 2:
        return
    say(console, "\nFinalists, on the same fresh seeds:")
    table = _table("", "in the race", "instances", criterion, "95 % interval", "")
    for one in finalists:
        low, high = one.fresh.interval or (None, None)
        interval = "-" if low is None else f"{number(low)} to {number(high)}"
        told = "told from the best" if one.separated else ""
        fresh = one.fresh
        table.add_row(
            one.configuration_id, str(one.place), str(fresh.n_instances), number(fresh.criterion), interval, told
        )
    console.print(table)


def _print_pareto(console: Console, verdict: Verdict) -> None:
    """Print the configurations that no other one beats, those best in the first objective first."""
    say(console, "\nNo configuration beats these in all objectives:")
    table = _table("", "instances", *verdict.objectives)
    for point in verdict.pareto:
        table.add_row(point.configuration_id, str(point.n_instances), *(number(value) for value in point.values))
    console.print(table)


def _table(*heads: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for head in heads:
        table.add_column(Text(head), justify="right" if head else "left")
    return table


def print_contradiction(
    console: Console, verdict: Verdict, interval: tuple[float, float] | None, run_dir: Path
) -> None:
    """Print where the confirmation contradicts the race, and the command that goes on from there; else nothing."""
    if said := contradiction(verdict, interval):
        say(console, f"\n{said}", soft_wrap=True)
    if how := command(verdict, interval, run_dir):
        say(console, f"  {how}", soft_wrap=True)


def print_where_next(console: Console, run_dir: Path, tracked_at: str) -> None:
    """Print where the results are."""
    lines = ["", "Look next:", f"  {run_dir / 'report.html'}"]
    lines.append(f'  raysearch.load("{run_dir}")   # a DataFrame, one row per instance')
    lines += [f"  {line}" for line in tracked_at.splitlines()]
    say(console, "\n".join(lines), soft_wrap=True)


def print_status(console: Console, name: str, progress: Progress, ended: bool) -> None:
    """Print how a run stands, as plain lines that also read well in a log."""
    state = "finished" if ended else f"round {progress.round}, {progress.phase.value}"
    say(console, f"{name}: {state}")
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row("configurations left", f"{progress.n_survivors} of {progress.n_configurations}")
    table.add_row("instances finished", f"{progress.n_finished} of about {progress.n_expected}")
    table.add_row("in flight", str(progress.n_running))
    for title, value in (
        ("diverged (count as +inf)", progress.n_diverged),
        ("failed for good (count as +inf)", progress.n_failed),
        ("crashes tried again", progress.n_retries),
        ("stopped as obsolete", progress.n_stopped),
    ):
        if value:
            table.add_row(title, str(value))
    if progress.incumbent is not None:
        best = f"{progress.incumbent.id}, {progress.criterion} {number(progress.incumbent_value)}"
        table.add_row("incumbent", Text(best))
    console.print(table)


def print_runs(console: Console, rows: Sequence[Mapping[str, Any]], root: Path) -> None:
    """Print how every search below `root` stands, one a line; `rows` are those of `live_runs.Overview`."""
    if not rows:
        say(console, f"No search in {root}: `raysearch run FILE` begins one, `--runs` names another folder.")
        return
    table = _table("", "state", "criterion", "best", "configuration", "left", "instances", "spent")
    for row in rows:
        if row["state"] in ("damaged", "empty"):
            table.add_row(Text(row["run"]), row["state"], Text(str(row.get("error", ""))[:60]))
            continue
        table.add_row(
            Text(row["run"]),
            "confirming" if row["state"] == "running" and row["phase"] == "confirmation" else row["state"],
            Text(row["criterion"]),
            number(None if row["value"] is None else float(row["value"])),
            row["leader"] or "-",
            f"{row['n_survivors']} of {row['n_configurations']}",
            f"{row['n_finished']} of {row['n_expected']}",
            duration(row["elapsed_s"]),
        )
    console.print(table)


def print_failures(console: Console, errors: Sequence[str], run_dir: Path) -> None:
    """Print the kinds of errors by how many instances met them, the last one whole, and how to try again."""
    said = [error.splitlines()[-1][:_ERROR_WIDTH] for error in errors]
    alike = [kind(line) for line in said]
    kinds = Counter(alike)
    lines = ["", "Last errors of the instances that failed for good:"]
    lines += [f"  {n} x {said[alike.index(one)]}" for one, n in kinds.most_common(_N_ERRORS)]
    if len(kinds) > _N_ERRORS:
        lines.append(f"  and {len(kinds) - _N_ERRORS} kinds more")
    lines += ["", "The last one:", *(f"  {line}" for line in errors[-1].splitlines()[-_N_LINES:]), ""]
    lines.append(f"Mend the cause, then `raysearch resume {run_dir} --retry-failed` trains them again.")
    say(console, "\n".join(lines), soft_wrap=True)


def kind(line: str) -> str:
    """Return what an error has in common with others: those that differ in an id or a seed only are of one kind."""
    return _NUMBERS.sub("#", line)


def _cells(summary: Summary) -> list[str]:
    values = (summary.criterion, summary.median, summary.q3, summary.iqr, summary.max)
    return [str(summary.n_instances), *(number(value) for value in values)]
