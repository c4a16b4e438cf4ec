"""Plug-ins by name: one file in a room is one plug-in, its file name is its public name.

A plug-in file `criteria/q3_plus_iqr.py` defines the frozen dataclass of its own name, `Q3PlusIqr`, whose fields are its
parameters. Files without such a class are no plug-ins. Nothing is imported before it is asked for.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import numbers
from pathlib import Path
from typing import Any

import raysearch
from raysearch.errors import ExperimentError, unknown

ROOMS = {
    "criteria": "criteria",
    "rules": "rules",
    "samplers": "samplers",
    "workloads": "workloads",
    "tracking": "tracking",
    "losses": "training.losses",
    "measures": "training.measures",
    "execution": "execution",
}
"""The kinds of plug-ins that an experiment file can name, and the rooms where they are."""


def names(room: str) -> list[str]:
    """Return the sorted plug-in names of `room`; raises UnknownNameError for an unknown room."""
    if room not in ROOMS:
        raise unknown("room", room, ROOMS)
    folders = [Path(root, *ROOMS[room].split(".")) for root in raysearch.__path__]
    files = [file for folder in folders for file in folder.glob("[!_]*.py")]
    return sorted(file.stem for file in files if _is_plugin(file))


def plugin(room: str, name: str) -> type:
    """Return the plug-in class `name` of `room` without making an instance."""
    known = names(room)
    if name not in known:
        raise unknown(f"name in {room}", name, known)
    module = importlib.import_module(f"raysearch.{ROOMS[room]}.{name}")
    cls: type = getattr(module, _class_name(name))
    return cls


def _is_plugin(file: Path) -> bool:
    # read, not imported: `raysearch list` and error messages must not load torch, ray and mlflow
    return f"\n@dataclass(frozen=True)\nclass {_class_name(file.stem)}" in file.read_text(encoding="utf-8")


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def parameters(room: str, name: str) -> dict[str, Any]:
    """Return the parameters of a plug-in with their defaults (`dataclasses.MISSING` where there is none)."""
    return {
        field.name: field.default_factory() if callable(field.default_factory) else field.default
        for field in dataclasses.fields(plugin(room, name))
        if field.init
    }


def load(room: str, name: str, **arguments: Any) -> Any:
    """Return plug-in `name` of `room` made with `arguments`, e.g. `load("criteria", "quantile", q=0.9)`.

    Raises:
        UnknownNameError: unknown room, plug-in or parameter; the text names the known ones.
        ExperimentError: a parameter is missing, or its value is refused by the plug-in.
    """
    cls = plugin(room, name)
    known = {field.name: str(field.type) for field in dataclasses.fields(cls) if field.init}
    for argument, value in arguments.items():
        if argument not in known:
            raise unknown(f"parameter of {name} (in {room})", argument, known)
        if not _fits(value, known[argument]):
            raise ExperimentError(
                f"{name} (in {room}): {argument} must be {_in_words(known[argument])}, got {value!r:.80}"
            )
    try:
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        if isinstance(error, ExperimentError):
            raise
        raise ExperimentError(f"{name} (in {room}): {error}") from error


_PLAIN = {
    "bool": (bool, "true or false"),
    "int": (numbers.Integral, "a whole number"),
    "float": (numbers.Real, "a number"),
    "str": (str, "text"),
    "None": (type(None), "null"),
}


def _fits(value: Any, annotation: str) -> bool:
    """Whether a value is of a plain type; what else a plug-in asks for it checks itself."""
    kinds = annotation.split(" | ")
    if not all(kind in _PLAIN for kind in kinds):
        return True
    if isinstance(value, bool):  # which is an int to Python, but a slip in a file
        return "bool" in kinds
    return any(isinstance(value, _PLAIN[kind][0]) for kind in kinds)


def _in_words(annotation: str) -> str:
    return " or ".join(_PLAIN[kind][1] for kind in annotation.split(" | "))


def load_section(room: str, section: str | dict[str, Any]) -> Any:
    """Return the plug-in that a section of an experiment file names: `q3` or `{name: quantile, q: 0.9}`."""
    if isinstance(section, str):
        return load(room, section)
    if "name" not in section:
        close = difflib.get_close_matches("name", [str(key) for key in section], n=1)
        hint = f" Did you mean 'name' by {close[0]!r}?" if close else ""
        raise ExperimentError(f"a section of {room} needs a 'name' (known: {', '.join(names(room))}).{hint}")
    return load(room, **section)
