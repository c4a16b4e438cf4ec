"""Descriptions of rooms and of the experiment file, made from the plug-ins themselves."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError

from raysearch import registry
from raysearch.errors import ExperimentError
from raysearch.experiment import measures
from raysearch.experiment.experiment import Experiment
from raysearch.experiment.sections import BESIDE, DEFAULTS, ROOM_OF
from raysearch.json_values import as_json


def describe_room(room: str) -> list[tuple[str, str, str]]:
    """Return (name, parameters with defaults, first sentence of the docstring) of every plug-in of a room.

    Of one that an installed package brings the sentence names the package; of one that cannot be used, the cause.
    """
    described = []
    for name in registry.names(room):
        brought = "".join(f" ({registry.package_of(point)})" for point in registry.installed(room).get(name, ()))
        try:
            arguments = ", ".join(_argument(key, value) for key, value in registry.parameters(room, name).items())
            sentence = (inspect.getdoc(registry.plugin(room, name)) or "").split("\n\n")[0].replace("\n", " ")
            described.append((name, f"({arguments})", sentence + brought))
        except ExperimentError as error:
            described.append((name, "", f"cannot be used: {error}"))
    return described


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of experiment files: every plug-in's name and parameters, with types and descriptions."""
    schema = Experiment.model_json_schema()
    for section, room in ROOM_OF.items():
        names = [name for name in registry.usable(room) if name != "function"]
        schema["properties"][section]["anyOf"] = [{"enum": names}, *(_section(room, name) for name in names)]
    _describe_measures(schema["properties"])
    for section in ROOM_OF:
        schema["properties"][section] |= _named_or_clear(section, schema["properties"][section]["anyOf"])
    schema["properties"]["tracking"]["anyOf"].append({"type": "null"})
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "raysearch experiment"
    return schema


def _describe_measures(properties: dict[str, Any]) -> None:
    """Fill in the section of measures, what a criterion may be `of`, and that criteria are what a sampler weighs."""
    names = list(registry.usable("measures"))
    sections = [_section("measures", name) for name in names]
    metric = {
        "type": "object",
        "properties": {"metric": {"type": "string", "description": "A number that the workload reports."}},
        "required": ["metric"],
        "additionalProperties": False,
    }
    instead = {"description": "The measure that takes the loss's place.", "anyOf": [{"enum": names}, metric, *sections]}
    for criterion in properties["criterion"]["anyOf"][1:]:
        criterion["properties"]["of"] = instead
    for sampler in properties["sampler"]["anyOf"][1:]:
        if "objectives" in sampler["properties"]:
            sampler["properties"]["objectives"] |= {"items": {"anyOf": properties["criterion"]["anyOf"]}}
    whose = {"of": {"enum": list(measures.OF)}}
    choices = [{**section, "properties": {**section["properties"], **whose}} for section in sections]
    properties["measures"]["items"] = _named_or_clear("measures", [{"enum": names}, *choices])


def _named_or_clear(section: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of a section of these choices, whose name may be left out where its keys tell it.

    As in `raysearch.experiment.sections.named`: the default where that takes all keys, else the only one that does.
    """
    optional = [
        {**one, "required": [key for key in one["required"] if key != "name"]} for one in choices if "required" in one
    ]
    beside = set(BESIDE.get(section, ()))
    takes = {one["properties"]["name"]["const"]: sorted(one["properties"].keys() - {"name"}) for one in optional}
    default = DEFAULTS.get(section)
    first = [one for one in optional if one["properties"]["name"]["const"] == default]
    only = {
        "oneOf": [{"propertyNames": {"enum": keys}} for name, keys in takes.items() if name != default],
        "not": {"propertyNames": {"enum": sorted({*takes.get(default, ()), *beside})}},
    }
    without_name = {"type": "object", "not": {"required": ["name"]}}
    return {"anyOf": [choices[0], *optional], "if": without_name, "then": {"anyOf": [*first, only]}}


def _argument(name: str, default: Any) -> str:
    return name if default is dataclasses.MISSING else f"{name}={default!r}"


def _section(room: str, name: str) -> dict[str, Any]:
    cls = registry.plugin(room, name)
    known = registry.parameters(room, name)
    required = [key for key, default in known.items() if default is dataclasses.MISSING]
    return {
        "type": "object",
        "description": (inspect.getdoc(cls) or "").split("\n\n")[0],
        "properties": {"name": {"const": name}, **{key: _parameter(cls, key, value) for key, value in known.items()}},
        "required": ["name", *required],
        "additionalProperties": False,
    }


def _parameter(cls: type, name: str, default: Any) -> dict[str, Any]:
    """Return what a parameter may be, and what it is where it is left out."""
    try:
        hint = registry.described(cls)[0][name]
        schema = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True)).json_schema()
        return schema if default is dataclasses.MISSING else {**schema, "default": as_json(default)}
    except (PydanticInvalidForJsonSchema, PydanticUserError, ExperimentError):  # of a type that JSON cannot hold
        return {}
