"""What a parameter may be is said once, by its annotation: the schema shows it, the loader and Python hold it."""

import itertools

import jsonschema
import numpy as np
import pytest
from command_line import SEARCH

from raysearch import registry
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.experiment.experiment import from_data
from raysearch.experiment.schema import json_schema
from raysearch.experiment.sections import ROOM_OF
from raysearch.json_values import as_json
from raysearch.rules.halving import Halving
from raysearch.rules.significance import Significance
from raysearch.rules.top_two import TopTwo

NEEDED = {
    "replay": {"table": "t.parquet"},
    "cifar10": {"folder": "f"},
    "sequential_halving": {"budget": 100},
    "module": {"module": "torch.nn.Identity", "data": "builtins.dict"},
}
WRONG = ["five", "5", True, None, [1], {}, 1.5, -0.5, [], "", 0, 1, 10**30]
# parameters whose values a check of the plug-in's own refuses too: several fields together, or Optuna's own list
CHECKED_BY_HAND = {
    ("significance", "warmup"),
    ("significance", "max_instances"),
    ("top_two", "warmup"),
    ("top_two", "certify"),
    ("top_two", "cap"),
    *itertools.product(("surrogate",), ("certify", "cap", "explore")),
    ("ray_tune", "cpus"),
    ("ray_tune", "gpus"),
    ("tpe", "algorithm"),
    *itertools.product(("calorimeter", "digits", "cifar10", "images", "module"), ("score",)),
    ("module", "module"),
    ("module", "data"),
    ("digits", "n_train"),
    ("calorimeter", "n_pool"),
    ("cifar10", "downsample"),
    ("images", "downsample"),
    ("digits", "n_validation"),
    ("digits", "n_test"),
}


def described():
    """Yield (room, name, schema of its section) of every plug-in that an experiment file can name."""
    properties = json_schema()["properties"]
    for section, room in ROOM_OF.items():
        for one in properties[section]["anyOf"]:
            if "properties" in one:
                yield room, one["properties"]["name"]["const"], one
    for one in properties["measures"]["items"]["anyOf"]:
        if "properties" in one:
            yield "measures", one["properties"]["name"]["const"], one


def tried(schema):
    """Return the values to try for a parameter: wrong ones of every type, those beside its bounds, its choices."""
    parts = schema.get("anyOf", [schema])
    ends = [part[key] for part in parts for key in BOUNDS if key in part]
    beside = [end + step for end in ends for step in (-1, -0.5, -1e-9, 0, 1e-9, 0.5, 1)]
    choices = [choice for part in parts for choice in part.get("enum", ())]
    values = [*WRONG, *beside, *choices, *(f"{choice}_" for choice in choices)]
    # 2.0 is a whole number to a JSON schema, but not to the loader
    return [value for value in values if not (isinstance(value, float) and value.is_integer())]


BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def test_what_the_schema_refuses_the_loader_refuses_and_the_reverse():
    faults, by_hand, n = [], set(), 0
    for room, name, schema in described():
        checker = jsonschema.Draft202012Validator(schema)
        for parameter in registry.parameters(room, name):
            for value in tried(schema["properties"][parameter]):
                section = {"name": name, **NEEDED.get(name, {}), parameter: value}
                shown, refused = checker.is_valid(section), refusal(room, section)
                n += 1
                if shown and refused:
                    by_hand.add((name, parameter))
                elif shown != (refused == ""):
                    faults.append((section, refused))
                elif refused and parameter not in refused:
                    faults.append((section, f"does not name the parameter: {refused}"))
    assert faults == []
    assert by_hand == CHECKED_BY_HAND
    assert n > 2000


def refusal(room, section):
    """Return why the loader refuses a section, which is what Python says where the plug-in is made there; else ""."""
    cls, arguments = registry.plugin(room, section["name"]), {k: v for k, v in section.items() if k != "name"}
    by_file = said(lambda: registry.load_section(room, section)).removeprefix(f"{section['name']} (in {room}): ")
    if issubclass(cls, registry.Validated):
        assert said(lambda: cls(**arguments)) == by_file
    return by_file


def said(make):
    try:
        make()
    except ValueError as error:
        return str(error)
    return ""


def test_every_plugin_with_parameters_checks_them_wherever_it_is_made():
    unchecked = {
        name
        for room in registry.ROOMS
        for name in registry.names(room)
        if registry.parameters(room, name) and not issubclass(registry.plugin(room, name), registry.Validated)
    }
    assert unchecked == {"function"}


def test_every_number_has_a_bound_that_the_schema_shows_or_may_be_any():
    boundless = set()
    for _, name, schema in described():
        for parameter, shown in schema["properties"].items():
            parts = shown.get("anyOf", [shown])
            if any(part.get("type") in ("integer", "number") for part in parts) and "minimum" not in str(shown).lower():
                boundless.add((name, parameter))
    seeds = {(name, "seed") for name in ("adversarial", "corruption", "curvature", "generalization_gap")}
    any_number = {("synthetic", "skew"), ("noise_resilience", "seed")}
    assert boundless == seeds | any_number


def test_the_schema_and_the_loader_agree_on_sections_without_a_name():
    schema, faults, n = json_schema(), [], 0
    for section, room in ROOM_OF.items():
        checker = jsonschema.Draft202012Validator(schema["properties"][section])
        takes = {name: registry.parameters(room, name) for name in registry.names(room) if name != "function"}
        values = {key: NEEDED.get(name, {}).get(key, value) for name in takes for key, value in takes[name].items()}
        for keys in itertools.chain.from_iterable(itertools.combinations(values, k) for k in range(3)):
            given = {key: values[key] for key in keys}
            told = said(lambda: from_data({**SEARCH, section: given}).load(section))  # noqa: B023
            n += 1
            if checker.is_valid(as_json(given)) != (told == ""):
                faults.append((section, given, told))
    assert faults == []
    assert n > 500


@pytest.mark.parametrize(
    ("room", "name", "parameter", "shown"),
    [
        ("rules", "halving", "warmup", {"type": "integer", "minimum": 1, "default": 5}),
        ("criteria", "quantile", "q", {"type": "number", "minimum": 0, "maximum": 1, "default": 0.9}),
        ("criteria", "cvar", "alpha", {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 0.25}),
        ("workloads", "calorimeter", "target", {"type": "string", "enum": ["energy", "position"], "default": "energy"}),
        (
            "execution",
            "ray_tune",
            "timeout_s",
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None},
        ),
        ("rules", "sequential_halving", "budget", {"type": "integer", "minimum": 1}),
        ("measures", "synaptic_filtering", "n_thresholds", {"type": "integer", "minimum": 3, "default": 21}),
    ],
)
def test_the_schema_shows_bounds_choices_and_defaults(room, name, parameter, shown):
    (schema,) = [schema for where, called, schema in described() if (where, called) == (room, name)]
    assert schema["properties"][parameter] == shown


def test_the_schema_shows_the_bounds_of_screening():
    shown = json_schema()["$defs"]["Screening"]["properties"]
    assert shown["rule"]["enum"] == ["median", "halving"]
    assert [shown[name]["minimum"] for name in ("first_epoch", "factor", "n_startup")] == [1, 2, 2]
    with pytest.raises(ExperimentError, match=r"race\.screen: factor must be at least 2, got 1"):
        from_data({**SEARCH, "race": {"screen": {"factor": 1}}})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Halving(warmup=0), "warmup must be at least 1, got 0"),
        (lambda: Halving(warmup=2.5), "warmup must be a whole number, got 2.5"),
        (lambda: Halving(warmup=True), "warmup must be a whole number, got True"),
        (lambda: Halving(warmup="3"), "warmup must be a whole number, got '3': that is text, write it without quotes"),
        (lambda: TopTwo(confidence=1), r"confidence must be below 1, got 1"),
        (lambda: TopTwo(delta=float("nan")), "delta must be a finite number, got nan"),
        (lambda: TopTwo(budget=0), "budget must be at least 1 or null, got 0"),
        (lambda: TopTwo(warmup=0, keep=1), "warmup must be at least 1, got 0; keep must be at least 2, got 1"),
        (lambda: TopTwo(cap=19), r"cap must be at least certify \(20\) and warmup \(1\), got 19"),
        (lambda: Significance(test="welsh"), "unknown test 'welsh'. Did you mean 'welch'[?] Known: bartlett, "),
    ],
)
def test_python_refuses_what_a_file_may_not_hold(make, message):
    with pytest.raises(ValueError, match=f"^{message}") as caught:
        make()
    assert isinstance(caught.value, UnknownNameError) == message.startswith("unknown")


def test_numbers_of_numpy_are_numbers():
    assert Halving(warmup=np.int64(3)).plan(4) == Halving(warmup=3).plan(4)
    assert TopTwo(delta=np.float32(0.5), confidence=np.float64(0.9)).delta == 0.5
    with pytest.raises(ExperimentError, match="warmup must be at least 1"):
        Halving(warmup=np.int64(0))
