"""Plug-ins by name: one file in a room is one plug-in, its file name is its public name.

A plug-in file `criteria/q3_plus_iqr.py` defines the frozen dataclass of its own name, `Q3PlusIqr`, whose fields are its
parameters; their annotations say what they may be (`Annotated[int, Ge(1)]`, `Literal["a", "b"]`). Files without such a
class are no plug-ins. An installed package brings others by entry points of the groups `raysearch.criteria`,
`raysearch.rules` ... (`trimmed = "their_package.trimmed:Trimmed"`). Nothing is imported before it is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import math
import sys
import typing
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import raysearch
from raysearch.errors import ExperimentError, in_words, unknown
from raysearch.json_values import scalar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

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


class Validated:
    """Makes a frozen dataclass refuse values that its annotations exclude, whoever makes it.

    One with a check of its own across several fields calls `super().__post_init__()` first.
    """

    def __post_init__(self) -> None:
        """Raise ExperimentError where a field's value is none that its annotation allows."""
        check(type(self), vars(self))


def names(room: str) -> list[str]:
    """Return the sorted plug-in names of `room`, those of installed packages included.

    Raises UnknownNameError for an unknown room.
    """
    return sorted({*built_in(room), *installed(room)})


@cache
def built_in(room: str) -> tuple[str, ...]:
    """Return the sorted names of the plug-ins of `room` that come with raysearch."""
    if room not in ROOMS:
        raise unknown("room", room, ROOMS)
    folders = [Path(root, *ROOMS[room].split(".")) for root in raysearch.__path__]
    files = [file for folder in folders for file in folder.glob("[!_]*.py")]
    return tuple(sorted(file.stem for file in files if _is_plugin(file)))


def installed(room: str) -> dict[str, tuple[metadata.EntryPoint, ...]]:
    """Return by name the plug-ins of `room` that installed packages bring: their entry points `raysearch.ROOM`."""
    return _entry_points(room, tuple(sys.path))


def plugin(room: str, name: str) -> type:
    """Return the plug-in class `name` of `room` without making an instance.

    Raises ExperimentError where two packages claim the name, or the one that brings it cannot be imported.
    """
    if not isinstance(name, str):
        raise ExperimentError(f"a name in {room} must be text, got {name!r:.80}. Known: {', '.join(names(room))}")
    own, others = name in built_in(room), installed(room).get(name, ())
    claims = ["raysearch itself"] * own + [package_of(point) for point in others]
    if not claims:
        raise unknown(f"name in {room}", name, names(room))
    if len(claims) > 1:
        raise ExperimentError(
            f"{name!r} in {room} is the name of two plug-ins, of {' and of '.join(claims)}: uninstall a package, or "
            "rename its entry point"
        )
    if others:
        return _imported(room, others[0])
    cls: type = getattr(importlib.import_module(f"raysearch.{ROOMS[room]}.{name}"), _class_name(name))
    return cls


def usable(room: str) -> dict[str, type]:
    """Return the plug-in classes of `room` by name, but for those that cannot be imported."""
    found = {}
    for name in names(room):
        with contextlib.suppress(ExperimentError):
            found[name] = plugin(room, name)
    return found


def home(cls: type) -> tuple[str, str]:
    """Return the room of a plug-in's class and its name there; two empty texts for any other class."""
    for room, place in ROOMS.items():
        name = cls.__module__.removeprefix(f"raysearch.{place}.")
        if name in built_in(room) and plugin(room, name) is cls:
            return room, name
        for name, points in installed(room).items():
            # what another package brings is not imported for it
            if points[0].module.partition(".")[0] == cls.__module__.partition(".")[0]:
                with contextlib.suppress(ExperimentError):
                    if plugin(room, name) is cls:
                        return room, name
    return "", ""


def package_of(point: metadata.EntryPoint) -> str:
    """Return the package that brings a plug-in, and its version."""
    return f"the package {point.dist.name} {point.dist.version}" if point.dist else f"the module {point.module}"


@cache
def _entry_points(room: str, path: tuple[str, ...]) -> dict[str, tuple[metadata.EntryPoint, ...]]:
    """`path` is what the answer depends on: sys.path."""
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for point in metadata.entry_points(group=f"raysearch.{room}"):
        found[point.name] = (*found.get(point.name, ()), point)
    return found


def _imported(room: str, point: metadata.EntryPoint) -> type:
    """Return the class that an entry point names."""
    what = f"{point.name} (in {room}), which {package_of(point)} brings,"
    try:
        cls: Any = point.load()
    except Exception as error:  # whatever a module does while it is imported
        raise ExperimentError(f"{what} cannot be imported: {type(error).__name__}: {error}") from error
    if not getattr(getattr(cls, "__dataclass_params__", None), "frozen", False):
        raise ExperimentError(f"{what} is no frozen dataclass, but {cls!r:.80}")
    return cls  # type: ignore[no-any-return]


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

    Raises UnknownNameError, with the known ones, for an unknown room, plug-in or parameter; ExperimentError for a
    parameter that is missing or refused.
    """
    cls, known = plugin(room, name), parameters(room, name)
    for argument in arguments:
        if argument not in known:
            raise unknown(f"parameter of {name} (in {room})", argument, known)
    for parameter, default in known.items():
        if default is dataclasses.MISSING and parameter not in arguments:
            raise ExperimentError(f"{name} (in {room}): the parameter {parameter!r} is missing")
    try:
        if not issubclass(cls, Validated):
            check(cls, arguments)
        return cls(**arguments)
    except (TypeError, ValueError) as error:
        kind = type(error) if isinstance(error, ExperimentError) else ExperimentError
        raise kind(f"{name} (in {room}): {error}") from error


def load_section(room: str, section: str | dict[str, Any]) -> Any:
    """Return the plug-in that a section of an experiment file names: `q3` or `{name: quantile, q: 0.9}`."""
    if isinstance(section, str):
        return load(room, section)
    if "name" not in section:
        close = difflib.get_close_matches("name", [str(key) for key in section], n=1)
        hint = f" Did you mean 'name' by {close[0]!r}?" if close else ""
        raise ExperimentError(f"a section of {room} needs a 'name' (known: {', '.join(names(room))}).{hint}")
    return load(room, **section)


# ---- what a parameter may be


def check(cls: type, values: Mapping[str, Any]) -> None:
    """Raise ExperimentError with every one of the `values` that its field in the dataclass `cls` cannot have."""
    hints, errors_of = described(cls)
    if not errors_of(values):
        return
    found: dict[str, list[Any]] = {}
    for error in errors_of({name: _as_python(value, hints.get(name)) for name, value in values.items()}):
        found.setdefault(error["loc"][0], []).append(error)
    mistakes = [_refused(name, hints[name], errors) for name, errors in found.items()]
    if mistakes:
        raise mistakes[0] if len(mistakes) == 1 else ExperimentError("; ".join(str(mistake) for mistake in mistakes))


@cache
def described(cls: Any) -> tuple[dict[str, Any], Callable[[Mapping[str, Any]], list[Any]]]:
    """Return the annotations of the fields that the dataclass `cls` is made with, and what finds values they exclude.

    Raises ExperimentError where an annotation cannot be read.
    """
    # not at the top: `import raysearch` loads nothing heavy
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError
    from typing_extensions import TypedDict

    make: Any = TypedDict
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
        hints = {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}
        fields = make(cls.__name__, hints, total=False)
        fields.__pydantic_config__ = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
        adapter = TypeAdapter(fields)
    except (NameError, TypeError, PydanticUserError) as error:
        raise ExperimentError(f"{cls.__qualname__}: its annotations cannot be read: {error}") from error

    def errors_of(values: Mapping[str, Any]) -> list[Any]:
        try:
            adapter.validate_python(values)
        except ValidationError as error:
            return list(error.errors())
        return []

    return hints, errors_of


def _as_python(value: Any, hint: Any) -> Any:
    """Return a number of a library as Python's, and the list that a file gives for a tuple as a tuple."""
    bare = typing.get_args(hint)[0] if typing.get_origin(hint) is typing.Annotated else hint
    return tuple(value) if isinstance(value, list) and typing.get_origin(bare) is tuple else scalar(value)


def _refused(name: str, hint: Any, errors: Sequence[Mapping[str, Any]]) -> ExperimentError:
    """Return the error for a field of the annotation `hint`."""
    value, choices = errors[0]["input"], _choices(hint)
    if isinstance(value, str) and choices:
        return unknown(name, value, choices)
    wanted = dict.fromkeys(in_words(error) for error in errors)
    if type(None) in typing.get_args(hint):
        wanted["null"] = None
    where = name + "".join(f"[{part}]" for part in errors[0]["loc"][1:] if isinstance(part, int))
    return ExperimentError(f"{where} must be {' or '.join(wanted)}, got {value!r:.80}{_unquoted(value, wanted)}")


def _choices(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    return [choice for part in typing.get_args(hint) for choice in _choices(part)]


def _unquoted(value: Any, wanted: Iterable[str]) -> str:
    """Return the remedy where a number was given as text."""
    if isinstance(value, str) and any("number" in one for one in wanted):
        with contextlib.suppress(ValueError):
            return ": that is text, write it without quotes" if math.isfinite(float(value)) else ""
    return ""
