"""Sections of an experiment: which room each names a plug-in of, which makes a given plug-in, where a key belongs."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from raysearch import registry
from raysearch.errors import ExperimentError

ROOM_OF = {
    "workload": "workloads",
    "sampler": "samplers",
    "criterion": "criteria",
    "rule": "rules",
    "execution": "execution",
    "tracking": "tracking",
}
"""The room that each section names a plug-in of."""
_ROOMS = {**ROOM_OF, "measures": "measures"}
BESIDE = {"criterion": ("of",), "measures": ("of",)}
"""Keys of a section that are no parameters of its plug-in."""
DEFAULTS = {"sampler": "grid", "rule": "halving", "execution": "ray_tune", "tracking": "mlflow"}
"""The plug-in of a section that gives parameters only, where that plug-in takes them all."""


def section_of(plugin: Any, section: str | None = None) -> dict[str, Any]:
    """Return the section that makes this plug-in again.

    Raises ExperimentError, with what `section` takes, where it is no plug-in, or none of that section.
    """
    room, name = registry.home(type(plugin))
    if not name or (section is not None and room != _ROOMS[section]):
        raise _wrong_kind(plugin, section, room)
    values = {field.name: getattr(plugin, field.name) for field in dataclasses.fields(plugin) if field.init}
    return {"name": name, **values}


def given(section: str, value: Any) -> Any:
    """Return a section's value as an experiment holds it: a name, a mapping, None, or the section of a plug-in."""
    if isinstance(value, Mapping):
        return dict(value)
    return value if isinstance(value, str | None) else section_of(value, section)


def named(section: str, values: Mapping[str, Any], default: str | None = None) -> dict[str, Any]:
    """Return a section with the name of the plug-in it means: the default, or the only one that takes all its keys.

    Raises ExperimentError where several do. What no plug-in takes is left to the default, or without a name, to be
    refused with what is known.
    """
    parameters = {} if "name" in values else {key: values[key] for key in values if key not in BESIDE.get(section, ())}
    if not parameters and ("name" in values or default is None):
        return dict(values)
    room = _ROOMS[section]
    if default is not None and parameters.keys() <= registry.parameters(room, default).keys():
        return {"name": default, **values}
    takers = [name for name, known in _parameters(room).items() if parameters.keys() <= set(known)]
    if len(takers) > 1:
        raise ExperimentError(
            f"the section needs a 'name', since {', '.join(takers[:-1])} and {takers[-1]} take "
            f"{', '.join(parameters)}: write `{section}: {{name: {takers[0]}, {next(iter(parameters))}: ...}}`"
        )
    if takers:
        return {"name": takers[0], **values}
    misspelt = difflib.get_close_matches("name", parameters, n=1)
    return dict(values) if default is None or misspelt else {"name": default, **values}


def homes(key: str) -> list[str]:
    """Return the sections that take `key` as a parameter, in the form that a file gives it."""
    found = []
    for section, room in ROOM_OF.items():
        names = [name for name, known in _parameters(room).items() if key in known]
        if names:
            others = f" (or {', '.join(names[1:])})" if names[1:] else ""
            found.append(f"`{section}: {{name: {names[0]}, {key}: ...}}`{others}")
    return found


def _parameters(room: str) -> dict[str, Sequence[str]]:
    """Return the names of the parameters of a room's plug-ins that a file can name."""
    return {name: list(registry.parameters(room, name)) for name in registry.usable(room) if name != "function"}


def _wrong_kind(plugin: Any, section: str | None, room: str) -> ExperimentError:
    what = f"{plugin!r:.80} ({type(plugin).__name__})"
    if section is None:
        return ExperimentError(f"{what} is no plug-in of {', '.join(registry.ROOMS)}")
    wanted = _ROOMS[section]
    known = f"Known in {wanted}: {', '.join(registry.names(wanted))}."
    if isinstance(plugin, type) and registry.home(plugin)[0] == wanted:
        return ExperimentError(f"{section}: {plugin.__name__} is a class: make an object of it, {plugin.__name__}(...)")
    if room:
        return ExperimentError(f"{section}: {what} is a plug-in of {room}, not of {wanted}. {known}")
    return ExperimentError(
        f"{section}: expected a name, a section {{name: ..., parameters ...}} or a plug-in object, got {what}. {known} "
        f"One of your own is a frozen dataclass that your package names among its entry points `raysearch.{wanted}`: "
        "see CONTRIBUTING.md"
    )
