"""Ask something of a search that runs in another process: to stop, to pause, to go without a configuration."""

from __future__ import annotations

from pathlib import Path

from raysearch.driver.watch import race_of
from raysearch.errors import RunDirectoryError
from raysearch.race.dropping import in_play
from raysearch.race.race import Race
from raysearch.storage.decoding import entries
from raysearch.storage.events import Resume, Start
from raysearch.storage.journal import is_driven, read
from raysearch.storage.requests import Request, Requests, ask
from raysearch.storage.run_directory import RunDirectory


def stop(run_dir: Path, *, now: bool = False) -> str:
    """Let a search end when what runs has ended, or `now`; returns what will happen, in words."""
    directory = RunDirectory.open(run_dir)
    if is_driven(directory.journal) is False:
        return f"No driver runs: there is nothing to stop. `raysearch resume {run_dir}` goes on."
    ask(directory.path, Request("stop", now=now))
    when = "at once" if now else "when what runs has ended; `--now` does not wait for it"
    return f"It ends {when}. Nothing is lost: `raysearch resume {run_dir}` goes on."


def pause(run_dir: Path) -> str:
    """Let no further instance of a search begin; raises RunDirectoryError without a driver."""
    directory = RunDirectory.open(run_dir)
    if is_driven(directory.journal) is False:
        raise RunDirectoryError(f"no driver runs in {run_dir}. `raysearch resume {run_dir}` goes on")
    ask(directory.path, Request("pause"))
    return f"What runs ends, nothing new begins. `raysearch resume {run_dir}` goes on."


def unpause(run_dir: Path) -> str:
    """Let a paused search go on by its own driver; returns that in words, nothing where no driver runs in a pause."""
    directory = RunDirectory.open(run_dir)
    if is_driven(directory.journal) is False:
        return ""
    kinds = [request.kind for request in Requests(directory.path).more() if request.kind in ("pause", "unpause")]
    if not kinds or kinds[-1] == "unpause":
        return ""
    ask(directory.path, Request("unpause"))
    return "It was paused, and goes on in the process that began it."


def drop(run_dir: Path, configuration: str, reason: str = "") -> str:
    """Take a configuration out of a race, at once, or, without a driver, when the search goes on.

    `configuration` is an id or the beginning of one. Raises RunDirectoryError for one that is unknown or out already.
    """
    directory = RunDirectory.open(run_dir)
    race = _race(directory)
    found = [id_ for id_ in race.state.pool.rows if id_.startswith(configuration)] if configuration else []
    if len(found) != 1:
        what = f"begins {len(found)} configurations" if found else "is no configuration"
        ids = [race.state.pool.id(row) for row in in_play(race.state)[:8]]
        raise RunDirectoryError(f"{configuration!r} {what} of this search. In the race: {', '.join(ids)} ...")
    row = race.state.pool.rows[found[0]]
    left = in_play(race.state) if race.state.final else race.state.survivors.tolist()
    if race.state.final and not left:
        raise RunDirectoryError("the race is over: nobody can be dropped any more")
    if row not in left:
        cut = next((cut for cut in race.state.eliminations if found[0] in cut.configurations), None)
        why = "" if cut is None else f": {cut.reason}" if cut.reason else f" since round {cut.round}"
        raise RunDirectoryError(f"{found[0]} is out already{why}")
    if len(left) < 2:
        raise RunDirectoryError(f"{found[0]} is the last one in the race: somebody must win. `raysearch stop` ends it")
    ask(directory.path, Request("drop", configuration_id=found[0], reason=reason))
    driven = is_driven(directory.journal)
    return f"{found[0]} is dropped{'' if driven else ', as soon as `raysearch resume` goes on'}."


def _race(directory: RunDirectory) -> Race:
    history = list(entries(read(directory.journal)))
    started = [entry.event for entry in history if isinstance(entry.event, Start | Resume)]
    if not started:
        raise RunDirectoryError(f"{directory.path} has not begun yet")
    race = race_of(started[-1].experiment)
    race.replay(history)
    return race
