"""The command line: parses and prints, wires nothing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from raysearch.analysis import exits
from raysearch.analysis.arguments import Address, File, OneOrAll, Room, RunDir, Runs, Settings, Target, Watched

app = typer.Typer(
    name="raysearch",
    help="Find robust deep-learning configurations: many instances each, judged by a robust statistic.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with: raysearch demo; then, for a model of your own, raysearch new my_search.yaml",
)
console = Console(soft_wrap=False)


@app.command()
def plan(file: File, settings: Settings = None) -> None:
    """Show configurations and instances, by the rule and by exhaustive search, without training anything."""
    from raysearch.analysis.console import print_plan
    from raysearch.criteria.objectives import label
    from raysearch.driver.run import plan as plan_of
    from raysearch.experiment.experiment import from_file

    experiment = from_file(file, settings or [])
    print_plan(console, experiment.name, plan_of(experiment), label(experiment.rule))


@app.command()
def run(
    file: File,
    address: Address = None,
    run_dir: Annotated[Path | None, typer.Option(help="Where journal and results go. Default: runs/NAME-TIME.")] = None,
    settings: Settings = None,
    watch: Watched = False,
) -> None:
    """Carry out a search: race the configurations, confirm the winner, log every instance."""
    from raysearch.driver import run as run_search
    from raysearch.experiment.experiment import from_file

    experiment = from_file(file, [*(settings or []), *([f"execution.address={address}"] if address else [])])
    _print_end(run_search(experiment, run_dir, watchers=_watchers(watch)))


@app.command()
def demo(
    run_dir: Annotated[Path | None, typer.Option(help="Default: runs/demo-TIME.")] = None,
    settings: Settings = None,
    watch: Watched = False,
) -> None:
    """Race 16 networks on simulated calorimeter showers: a whole search in one to two minutes on two cores."""
    from raysearch.experiment import DEMO

    _say(f"Experiment file: {DEMO}")
    run(DEMO, None, run_dir, settings, watch)


@app.command()
def new(
    file: Annotated[Path, typer.Argument(help="Experiment file to be written, e.g. my_search.yaml.")],
    function: Annotated[
        str | None, typer.Option(help="Where to import train(config, seed) from, e.g. my_package.train.")
    ] = None,
    module: Annotated[
        str | None, typer.Option(help="Where to import build(parameters), which makes a torch network, from.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Where to import data(), which returns (inputs, targets).")] = None,
) -> None:
    """Write a commented experiment file for a function or network of your own, with an example where none is named."""
    from raysearch.driver.new import write

    for path in write(file, function=function, module=module, data=data):
        _say(f"Written: {path}")
    plan(file)


@app.command()
def resume(
    run_dir: RunDir,
    settings: Settings = None,
    address: Address = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train again what failed for good; the rule decides anew.")
    ] = False,
    watch: Watched = False,
) -> None:
    """Go on with a search that broke off or is paused, or extend a finished one: --set race.confirm=200."""
    from raysearch.driver.resume import resume as resume_search
    from raysearch.driver.status import said_of_taking_back
    from raysearch.driver.steer import unpause
    from raysearch.experiment.experiment import parse_settings

    if not settings and not retry_failed and (said := unpause(run_dir)):
        _say(said)
        return
    at = [f"execution.address={address}"] if address else []
    values = parse_settings([*(settings or []), *at])
    more = said_of_taking_back(run_dir) if retry_failed else ""
    _print_end(resume_search(run_dir, values, retry_failed=retry_failed, watchers=_watchers(watch, more)))


@app.command()
def watch(
    run_dir: OneOrAll = None,
    runs: Runs = Path("runs"),
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's own demands a token, which is printed.")
    ] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(help="Default: the first free one from 8420 on.", max=65535)] = None,
) -> None:
    """Show a search in the browser as it goes, or all of them: while it runs, after it broke off, after its end."""
    from raysearch.driver.watch import watch as serve

    serve(run_dir, root=runs, host=host, port=port, say=_say)


@app.command()
def status(
    run_dir: RunDir,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Watch until the search has ended.")] = False,
    every_s: Annotated[float, typer.Option(help="Seconds between looks with --follow.", min=0.1)] = 1.0,
) -> None:
    """Show how a search stands, from its journal alone; works while it runs, and from another terminal."""
    from raysearch.driver.status import follow as follow_run
    from raysearch.driver.status import read_status

    if follow:
        follow_run(console, run_dir, every_s)
    else:
        read_status(run_dir).print(console)


@app.command()
def report(
    run_dir: RunDir, out: Annotated[Path | None, typer.Option(help="Default: report.html in the run directory.")] = None
) -> None:
    """Write the HTML report of a search again, finished or not."""
    from raysearch.driver.status import write_report

    _say(str(write_report(run_dir, out)))


@app.command()
def stop(
    run_dir: RunDir, now: Annotated[bool, typer.Option("--now", help="Do not wait for the instances that run.")] = False
) -> None:
    """End a search that another process carries out; nothing is lost, `raysearch resume` goes on with it."""
    from raysearch.driver.steer import stop as ask_to_stop

    _say(ask_to_stop(run_dir, now=now))


@app.command()
def pause(run_dir: RunDir) -> None:
    """Let no further instance of a running search begin, until `raysearch resume`; what runs goes to its end."""
    from raysearch.driver.steer import pause as ask_to_pause

    _say(ask_to_pause(run_dir))


@app.command()
def drop(
    run_dir: RunDir,
    configuration: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    reason: Annotated[str, typer.Option(help="Why: journal, live page, report, MLflow and verdict will say it.")] = "",
) -> None:
    """Take a configuration out of a race, running or broken off; the rule decides about the others."""
    from raysearch.driver.steer import drop as ask_to_drop

    _say(ask_to_drop(run_dir, configuration, reason))


@app.command()
def sync(run_dir: RunDir, settings: Settings = None) -> None:
    """Make MLflow equal the journal, after the tracking server was away; safe to repeat."""
    from raysearch.driver.sync import sync as sync_run
    from raysearch.experiment.experiment import parse_settings

    n = sync_run(run_dir, parse_settings(settings or []))
    _say(f"{n} instances are in the tracker.")


@app.command()
def export(
    run_dir: RunDir,
    where: Annotated[str, typer.Argument(help="Address of Optuna's storage, e.g. sqlite:///study.db, or a file.")],
    to: Target,
    study: Annotated[str | None, typer.Option(help="Name of the study. Default: that of the run directory.")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="Let an earlier export to the same place go.")] = False,
) -> None:
    """Hand a search on, finished or not: its configurations as a study of Optuna, or its instances as a table."""
    from raysearch.analysis.console import progress_bar
    from raysearch.driver.export import export as export_run

    with progress_bar(console) as show:
        said = export_run(run_dir, to, where, study=study, replace=replace, show=show)
    _say(said)


@app.command(name="list")
def list_room(
    room: Room,
    runs: Runs = Path("runs"),
) -> None:
    """List the plug-ins of a kind with their parameters, or, for `runs`, all searches and how they stand."""
    if room == "runs":
        from raysearch.analysis.console import print_runs
        from raysearch.driver.watch import overview

        print_runs(console, overview(runs), runs)
        return
    from raysearch.experiment.schema import describe_room

    for name, arguments, sentence in describe_room(room):
        console.print(Text.assemble((name, "bold"), arguments))
        console.print(Text(f"    {sentence}"))


@app.command()
def schema() -> None:
    """Print the JSON schema of experiment files, with which editors complete and check them."""
    import json

    from raysearch.experiment.schema import json_schema

    print(json.dumps(json_schema(), indent=2))


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        import raysearch

        console.print(raysearch.__version__, highlight=False)
        raise typer.Exit


def _watchers(page: bool, more: str = "") -> list[Any]:
    from raysearch.driver.watch import Page
    from raysearch.tracking.terminal import Terminal, Where

    return [Where(_say, exits.run_dirs.append, more), *([Page(_say)] if page else []), Terminal()]


def _print_end(result: object) -> None:
    from raysearch.analysis.console import print_contradiction, print_verdict, print_where_next
    from raysearch.driver.run import SearchResult
    from raysearch.driver.status import said_of_failures

    assert isinstance(result, SearchResult)
    print_verdict(console, result.verdict, result.interval)
    if said := said_of_failures(result.run_dir):
        _say(said)
    print_contradiction(console, result.verdict, result.interval, result.run_dir)
    print_where_next(console, result.run_dir, result.tracked_at)


def _say(text: str) -> None:
    """Print a line as it is, unbroken: it may hold a path, to be copied."""
    from raysearch.analysis.console import say

    say(console, text, soft_wrap=True)


def main() -> None:
    """Run the command line; a user's mistake ends in one clear line and exit code 2."""
    if "_RAYSEARCH_COMPLETE" in os.environ:  # Tab was pressed
        from raysearch.analysis.completion import answer

        answer(app)
    exits.carry_out(app)


if __name__ == "__main__":
    main()
