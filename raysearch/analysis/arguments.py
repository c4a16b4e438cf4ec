"""What commands take, with what a shell completes of it; nothing else is loaded before it asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer


def _texts(what: str) -> Callable[[], list[str]]:
    """Return what tells a shell the texts that may stand here."""

    def texts() -> list[str]:
        from raysearch.analysis.completion import of

        return of(what)

    return texts


File = Annotated[Path, typer.Argument(help="Experiment file (YAML); `raysearch schema` describes it.")]
RunDir = Annotated[
    Path,
    typer.Argument(help="Run directory, e.g. runs/demo-20260101-120000.", autocompletion=_texts("run_dirs")),
]
OneOrAll = Annotated[
    Path | None,
    typer.Argument(help="Run directory. Default: all searches below --runs.", autocompletion=_texts("run_dirs")),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a setting of the file, e.g. --set race.confirm=200.",
        autocompletion=_texts("settings"),
    ),
]
Address = Annotated[
    str | None,
    typer.Option(help="Ray cluster: auto, HOST:6379, ray://HOST:10001 or local. Default: RAY_ADDRESS, or a local one."),
]
Watched = Annotated[bool, typer.Option("--watch", help="Serve the live page beside it; its address is printed.")]
Runs = Annotated[Path, typer.Option("--runs", help="Folder that holds the run directories.")]
Room = Annotated[
    str,
    typer.Argument(
        help="runs; or criteria, rules, samplers, workloads, losses, measures ...", autocompletion=_texts("rooms")
    ),
]
Target = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="TARGET",
        help="optuna: configurations as trials; csv, parquet: instances.",
        autocompletion=_texts("targets"),
    ),
]
