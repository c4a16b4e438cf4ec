"""One YAML file = one search: parsed, checked and turned into its parts before anything trains."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from raysearch import registry
from raysearch.errors import ExperimentError, in_words, unknown
from raysearch.experiment import yaml_text
from raysearch.experiment.sections import DEFAULTS, ROOM_OF, homes, named
from raysearch.experiment.sections import section_of as section_of
from raysearch.json_values import as_json
from raysearch.race.screening import Screening
from raysearch.samplers.search_space import Constraint, Space, parse
from raysearch.samplers.space_function import FunctionSpace

Section = str | dict[str, Any]
"""A plug-in by name, with or without parameters: `q3` or `{name: quantile, q: 0.9}`."""

DEFINED_BY = "defined_by"
"""Key of a space that a Python function defines."""


class RaceSettings(BaseModel):
    """How the race is carried out, whatever its rule."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    confirm: int = Field(default=20, ge=0, description="Fresh-seed instances that confirm the winner.")
    finalists: int = Field(
        default=1,
        ge=1,
        description="So many that lasted longest are confirmed on the same seeds: the best of them wins.",
    )
    block: int = Field(default=1, ge=1, description="Seeds of one configuration that may share a trial.")
    retries: int = Field(
        default=2, ge=0, description="How often a failed instance is tried again before it counts as +inf."
    )
    ahead: bool = Field(
        default=False, description="Start likely next instances on idle machines while a decision is open."
    )
    on_failure: Literal["count", "raise"] = Field(
        default="count", description="An instance that fails for good counts as +inf, or ends the search."
    )
    screen: Screening | None = Field(
        default=None,
        description="End a configuration's first instance, and with it the configuration, at an epoch where it is bad.",
    )
    exhaustive: int = Field(
        default=50, ge=1, description="Instances per configuration of the exhaustive search compared with."
    )

    @model_validator(mode="after")
    def _on_fresh_seeds(self) -> RaceSettings:
        if self.finalists > 1 and not self.confirm:
            raise ValueError(
                f"{self.finalists} finalists are compared on fresh seeds, but confirm is 0: set confirm, e.g. to 100"
            )
        return self

    @field_validator("screen", mode="before")
    @classmethod
    def _made(cls, section: Any) -> Any:
        if not isinstance(section, dict):
            return section
        known = [field.name for field in dataclasses.fields(Screening)]
        for key in section:
            if key not in known:
                raise unknown("key of race.screen", key, known)
        return Screening(**section)


class Experiment(BaseModel):
    """A search as its file says it. Frozen; `experiment.with_values({"race.confirm": 200})` makes another."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    name: str = Field(default="search", description="Name of the search, and of its MLflow experiment.")
    seed: int = Field(default=0, ge=0, lt=2**63, description="Root of every random choice.")
    workload: Section = Field(description="What one instance is: calorimeter, digits, synthetic ...")
    space: dict[str, Any] = Field(description="Parameters: a list of values, or a range {low, high, log, type, step}.")
    constraints: dict[str, float] = Field(default={}, description="Upper bounds of named functions of the workload.")
    include: list[dict[str, Any]] = Field(
        default=[], description="Known configurations that take part from the start; n_configurations counts them."
    )
    learn_from: list[str] = Field(
        default=[],
        description="Run directories of earlier searches of the same workload: they teach the rule surrogate and the "
        "sampler tpe; of the same settings and seed, nothing is trained again.",
    )
    sampler: Section = Field(default=DEFAULTS["sampler"], description="Which configurations race.")
    criterion: Section = Field(
        default="q3", description="The statistic of a configuration's losses that steers the race."
    )
    rule: Section = Field(default=DEFAULTS["rule"], description="How configurations are dropped.")
    measures: list[Section] = Field(
        default=[], description="What instances tell beside the loss; `of`: winner, survivors, all."
    )
    race: RaceSettings = RaceSettings()
    execution: Section = Field(default=DEFAULTS["execution"], description="Who trains the instances.")
    tracking: Section | None = Field(
        default=DEFAULTS["tracking"], description="Who keeps them for browsing; null keeps the journal only."
    )

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name):
            raise ValueError("use letters, digits, '.', '_' and '-', starting with a letter or digit, at most 100")
        return name

    @field_validator(*ROOM_OF, "measures")
    @classmethod
    def _named(cls, value: Any, info: ValidationInfo) -> Any:
        section = str(info.field_name)
        if isinstance(value, list):
            return [named(section, one) if isinstance(one, dict) else one for one in value]
        return named(section, value, DEFAULTS.get(section)) if isinstance(value, dict) else value

    def with_values(self, values: Mapping[str, Any]) -> Experiment:
        """Return this experiment with dotted keys set, e.g. `{"race.confirm": 200, "workload.epochs": 5}`."""
        data = self.model_dump(mode="json")
        for key, value in values.items():
            _set(data, key, value)
        return from_data(data)

    def load(self, room: str) -> Any:
        """Return the plug-in of one section, e.g. `load("criterion")`; raises ExperimentError where it is wrong."""
        section = getattr(self, room)
        if room == "criterion" and isinstance(section, dict):  # `of` says what it is a statistic of
            section = {key: value for key, value in section.items() if key != "of"}
        try:
            _check_parameters(ROOM_OF[room], section)
            return registry.load_section(ROOM_OF[room], "silent" if section is None else section)
        except ExperimentError as error:
            raise type(error)(f"{room}: {error}") from error

    @property
    def n_configurations(self) -> int | None:
        """How many configurations the sampler proposes in all; None where it does not say."""
        n: int | None = getattr(self.load("sampler"), "n_configurations", None)
        return n

    def build_space(self, workload: Any, function: Any = None) -> Space | FunctionSpace:
        """Return the space, or that of a `function(trial)`, with the workload's constraints.

        Raises ExperimentError where a constraint is unknown, or a function is wanted and missing.
        """
        known: Sequence[str] = getattr(type(workload), "constraints", ())
        bounds: list[tuple[str, Constraint, float]] = []
        for name, bound in self.constraints.items():
            if name not in known:
                raise unknown("constraint", name, known)
            bounds.append((name, getattr(workload, name), bound))
        if function is not None:
            return FunctionSpace(function, tuple(bounds))
        if DEFINED_BY in self.space:
            raise ExperimentError(
                f"the space is defined by the Python function {self.space[DEFINED_BY]!r}, which no file can name: go "
                "on from Python with `raysearch.resume(run_dir, space=that_function)`"
            )
        return parse(self.space, tuple(bounds))


def from_file(path: Path, values: Sequence[str] = ()) -> Experiment:
    """Return the experiment of a YAML file with `key=value` settings applied; raises ExperimentError naming it."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise ExperimentError(f"cannot read the experiment file {path}: {reason}") from error
    data = yaml_text.parse(text, str(path))
    if not isinstance(data, dict):
        raise ExperimentError(f"{path} must hold a mapping of sections (name, workload, space ...), got {data!r:.80}")
    try:
        for key, value in parse_settings(values).items():
            _set(data, key, value)
        return from_data(data)
    except ExperimentError as error:
        raise type(error)(f"{path}: {error}") from error


def parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Return `["race.confirm=200"]` as `{"race.confirm": 200}`; the values are YAML."""
    values: dict[str, Any] = {}
    for setting in settings:
        key, separator, value = setting.partition("=")
        if not separator or not key:
            raise ExperimentError(f"--set {setting!r} has not the form key=value, e.g. --set race.confirm=200")
        values[key] = yaml_text.parse(value, f"--set {setting}")
    return values


def from_data(data: Any) -> Experiment:
    """Return the experiment that data describes, kept as JSON gives it back (see `raysearch.json_values`).

    Raises ExperimentError with every mistake found.
    """
    try:
        experiment = Experiment.model_validate(_plain(data, 3))
    except ValidationError as error:
        mistakes = dict.fromkeys(_explain(item) for item in error.errors() if not _beside_the_point(item))
        raise ExperimentError("; ".join(mistakes)) from error
    except RecursionError as error:
        raise ExperimentError("the experiment is nested too deeply") from error
    sections = [(name, getattr(experiment, name)) for name in (*ROOM_OF, "measures")]
    sections += [(f"space, parameter {name!r}", value) for name, value in experiment.space.items()]
    for where, value in sections:
        try:
            as_json(value)
        except ExperimentError as error:
            raise ExperimentError(f"{where}: {error}") from error
    return experiment


def _plain(data: Any, depth: int) -> Any:
    """Return as JSON gives it back what JSON can hold; the model and `from_data` refuse what is left."""
    try:
        return as_json(data)
    except ExperimentError:
        if depth and isinstance(data, Mapping):
            return {key: _plain(value, depth - 1) for key, value in data.items()}
        return data


def _check_parameters(room: str, section: Section | None) -> None:
    """Raise UnknownNameError for a parameter that another plug-in or section has, saying which."""
    if isinstance(section, dict) and section.get("name") in registry.names(room):
        known = registry.parameters(room, section["name"])
        for key in section:
            if key != "name" and key not in known:
                raise unknown(f"parameter of {section['name']} (in {room})", key, known, _elsewhere(key))


def _elsewhere(key: str) -> list[str]:
    """Return where in an experiment a key belongs."""
    found = [f"`{key}: ...` itself, beside the sections"] if key in Experiment.model_fields else []
    if key in RaceSettings.model_fields:
        found.append(f"`race: {{{key}: ...}}`")
    if key != "rule" and key in [field.name for field in dataclasses.fields(Screening)]:
        found.append(f"`race: {{screen: {{{key}: ...}}}}`")
    return [*found, *homes(key)]


def _set(data: Any, key: str, value: Any) -> None:
    *path, last = key.split(".")
    for part in path:
        if not isinstance(data, dict):
            raise ExperimentError(f"cannot set {key!r}: there is no section {part!r}")
        if isinstance(data.get(part), str):
            data[part] = {"name": data[part]}
        elif data.get(part) is None and not (part == "tracking" and part in data):  # which null turned off
            data[part] = {}
        data = data[part]
    if not isinstance(data, dict):
        where = ".".join(path)
        raise ExperimentError(f"cannot set {key!r}: {where} is no section but {data!r:.60}: set {where!r} itself first")
    if last == "name" and len(path) == 1 and path[0] in ROOM_OF and _meant(path[0], data) not in (None, value):
        data.clear()  # the parameters were those of another plug-in
    data[last] = value


def _meant(section: str, data: dict[str, Any]) -> Any:
    """Return the name of the plug-in that a section is of; None where it does not tell."""
    with contextlib.suppress(ExperimentError):
        return named(section, data, DEFAULTS.get(section)).get("name")
    return None


def _beside_the_point(item: Any) -> bool:
    """Whether a mistake is only that a section with parameters is not a bare name."""
    return item["loc"][-1:] == ("str",) and isinstance(item["input"], dict)


def _explain(item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"] if part not in ("str", "dict[str,any]"))
    if item["type"] == "extra_forbidden":
        model = RaceSettings if item["loc"][0] == "race" and len(item["loc"]) > 1 else Experiment
        return str(unknown("key", where, _known_keys(model, where), _elsewhere(str(item["loc"][-1]))))
    if item["loc"][-1:] == ("[key]",) or item["type"] == "invalid_key":
        return f"{where.removesuffix('.[key]')}: a key must be text, got {item['input']!r:.80}: quote it"
    if item["loc"][-1:] in (("str",), ("dict[str,any]",)):
        return f"{where}: expected a name or {{name: ..., parameters ...}}, got {item['input']!r:.80}"
    if item["type"] == "missing":
        return f"the section {where!r} is missing"
    if item["type"] == "value_error":
        return f"{where}: {item['msg'].removeprefix('Value error, ')}, got {item['input']!r:.80}"
    return f"{where} must be {in_words(item)}, got {item['input']!r:.80}"


def _known_keys(model: type[BaseModel], where: str) -> list[str]:
    prefix = "race." if where.startswith("race.") else ""
    return [prefix + name for name in model.model_fields]
