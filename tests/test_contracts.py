"""The contract of each room, held by every plug-in that `registry.names` finds in it."""

import dataclasses
import inspect
import math
import re

import numpy as np
import pytest

from raysearch import registry
from raysearch.errors import ExperimentError, RaysearchError, UnknownNameError
from raysearch.execution import HasGauges
from raysearch.records import Configuration, Outcome
from raysearch.rules import Budgeted
from raysearch.rules._abilities import Learns, Windowed
from raysearch.samplers.search_space import parse
from raysearch.workloads import HasEpochs, Measurable, Predicts, Workload

CRITERIA, SAMPLERS = registry.names("criteria"), registry.names("samplers")
EVERY = [(room, name) for room in registry.ROOMS for name in registry.built_in(room)]
# arguments for plug-ins that need some, or whose defaults are too large for the small spaces here
ARGUMENTS = {
    "function": {"fn": lambda config, seed: 0.0},
    "module": {"module": lambda parameters: None, "data": lambda: None},
    "replay": {"table": "instances.parquet"},
    "cifar10": {"folder": "cifar-10-batches-py"},
    "sequential_halving": {"budget": 100},
    "random": {"n_configurations": 20},
    "tpe": {"n_configurations": 9, "wave": 3},
}


def make(room, name, **arguments):
    return registry.load(room, name, **{**ARGUMENTS.get(name, {}), **arguments})


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_every_plugin_is_a_frozen_dataclass_made_by_name(room, name):
    made = make(room, name)
    assert dataclasses.is_dataclass(made)
    assert type(made).__dataclass_params__.frozen
    assert type(made).__module__ == f"raysearch.{registry.ROOMS[room]}.{name}"
    assert len(inspect.getdoc(type(made)).splitlines()[0]) > 10


@pytest.mark.parametrize(
    ("room", "ability", "able"),
    [
        ("workloads", Workload, set(registry.names("workloads"))),
        ("workloads", HasEpochs, {"calorimeter", "cifar10", "digits", "images", "module", "synthetic"}),
        ("workloads", Predicts, {"calorimeter", "cifar10", "digits", "images", "module"}),
        ("workloads", Measurable, {"calorimeter", "cifar10", "digits", "images", "module"}),
        ("rules", Budgeted, {"sequential_halving", "surrogate", "top_two"}),
        ("rules", Learns, {"surrogate"}),
        ("rules", Windowed, {"surrogate", "top_two"}),
        ("execution", HasGauges, {"ray_tune"}),
    ],
)
def test_what_a_plugin_can_do_beside_its_contract_is_seen(room, ability, able):
    assert {name for name in registry.names(room) if isinstance(make(room, name), ability)} == able


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_an_unknown_parameter_is_refused_with_the_closest_known(room, name):
    known = list(registry.parameters(room, name))
    with pytest.raises(UnknownNameError, match=rf"unknown parameter of {name} \(in {room}\) 'no_such_thing'"):
        make(room, name, no_such_thing=1)
    for parameter in known:
        with pytest.raises(UnknownNameError, match=f"Did you mean '{parameter}'"):
            make(room, name, **{parameter + "_": 1})


@pytest.mark.parametrize(("room", "name"), EVERY)
def test_a_number_is_no_text_and_true_is_no_number(room, name):
    for field in dataclasses.fields(registry.plugin(room, name)):
        if field.init and re.match(r"(Annotated\[)?(int|float)\b", field.type) and "None" not in field.type:
            for wrong in ("five", True, None, [1]):
                with pytest.raises(ExperimentError, match=rf"{field.name} must be a .*number, got"):
                    make(room, name, **{field.name: wrong})


@pytest.mark.parametrize("room", registry.ROOMS)
def test_an_unknown_name_is_refused_with_the_known_ones(room):
    for name in registry.names(room):
        with pytest.raises(UnknownNameError, match=f"Did you mean '{name}'"):
            registry.load(room, name + "_")
    with pytest.raises(RaysearchError):
        registry.load(room, "__init__")


def test_an_unknown_room_is_refused_with_the_closest_known():
    with pytest.raises(
        UnknownNameError, match=r"unknown room 'criterias'. Did you mean 'criteria'\? Known: criteria, "
    ):
        registry.names("criterias")


def test_a_section_without_a_name_is_refused():
    with pytest.raises(ExperimentError, match=r"needs a 'name' \(known: .*Did you mean 'name' by 'nmae'"):
        registry.load_section("criteria", {"nmae": "q3"})


# ---- criteria


@pytest.mark.parametrize("name", CRITERIA)
class TestCriterion:
    def test_order_of_the_instances_plays_no_part(self, name):
        criterion, generator = make("criteria", name), np.random.default_rng(0)
        losses = generator.lognormal(size=11)
        for _ in range(20):
            assert criterion(generator.permutation(losses)) == pytest.approx(criterion(losses), rel=1e-12)

    def test_any_leading_shape_and_holes_anywhere(self, name):
        criterion, generator = make("criteria", name), np.random.default_rng(1)
        losses = generator.lognormal(size=(3, 4, 9))
        losses[generator.random(losses.shape) < 0.4] = np.nan
        losses[0, 0] = np.nan  # a row without any instance
        losses[1, 1, :2] = math.inf
        values = criterion(losses)
        assert values.shape == (3, 4)
        for index in np.ndindex(3, 4):
            run = losses[index][~np.isnan(losses[index])]
            alone = criterion(run) if len(run) else math.nan
            assert values[index] == pytest.approx(alone, nan_ok=True)
        assert math.isnan(values[0, 0])

    def test_one_row_gives_a_plain_number_and_a_scalar_is_refused(self, name):
        criterion = make("criteria", name)
        assert np.ndim(criterion(np.array([0.1, 0.2]))) == 0
        assert math.isnan(criterion(np.array([])))
        assert criterion([0.1, 0.2]) == criterion(np.array([0.1, 0.2]))
        with pytest.raises(ValueError, match="needs an array of losses"):
            criterion(np.float64(0.3))

    def test_divergence_never_improves_it_and_never_becomes_nan(self, name):
        criterion, generator = make("criteria", name), np.random.default_rng(2)
        for n in range(1, 9):
            losses = generator.lognormal(size=n)
            for k in range(1, n + 1):
                worse = losses.copy()
                worse[:k] = math.inf
                assert criterion(worse) >= criterion(losses) or name == "std"
                assert not math.isnan(criterion(worse))
            assert criterion(np.full(n, math.inf)) == math.inf

    def test_scale_follows_the_losses(self, name):
        criterion, losses = make("criteria", name), np.random.default_rng(3).lognormal(size=7)
        assert criterion(3 * losses) == pytest.approx(3 * criterion(losses))

    def test_the_input_is_left_as_it_was(self, name):
        losses = np.array([3.0, np.nan, 1.0, math.inf])
        before = losses.copy()
        make("criteria", name)(losses)
        np.testing.assert_array_equal(losses, before)

    def test_docstring_gives_shape_range_and_source(self, name):
        cls = registry.plugin("criteria", name)
        assert "(..., n_instances)" in inspect.getdoc(cls.__call__)
        assert "Range:" in inspect.getdoc(cls)
        assert "Source:" in inspect.getdoc(cls)


# ---- samplers


@pytest.mark.parametrize("name", SAMPLERS)
class TestSampler:
    SPACE = parse({"a": [1, 2, 3], "b": {"low": 0, "high": 9}, "c": {"choice": ["x", "y"], "when": {"a": [1, 2]}}})

    def waves(self, name, seed):
        """Return the waves a sampler proposes, each judged by the same known loss before the next."""
        propose = make("samplers", name).bind(self.SPACE, seed, make("criteria", "median"))
        outcomes, waves = [], []
        while len(waves) < 3:
            known = {outcome.configuration.id for outcome in outcomes}
            wave = [c for c in propose(outcomes) if c.id not in known]
            if not wave:
                break
            assert [c for c in propose(outcomes) if c.id not in known] == wave, "not a function of the outcomes"
            waves.append(wave)
            outcomes += [Outcome(c, (c.parameters["a"] + c.parameters["b"],) * 3, False) for c in wave]
        return waves

    def test_the_same_seed_gives_the_same_configurations(self, name):
        assert self.waves(name, 1) == self.waves(name, 1)

    def test_configurations_are_valid_different_and_of_the_space(self, name):
        every = [configuration for wave in self.waves(name, 2) for configuration in wave]
        assert len({configuration.id for configuration in every}) == len(every) > 0
        for configuration in every:
            parameters = configuration.parameters
            assert parameters["a"] in (1, 2, 3)
            assert 0 <= parameters["b"] <= 9
            assert ("c" in parameters) == (parameters["a"] in (1, 2))
            assert configuration == Configuration.of(parameters)

    def test_constraints_hold(self, name):
        space = dataclasses.replace(self.SPACE, constraints=(("sum", lambda p: p["a"] + p["b"], 7.0),))
        for configuration in make("samplers", name).bind(space, 3, make("criteria", "median"))([]):
            assert configuration.parameters["a"] + configuration.parameters["b"] <= 7


# ---- workloads and trackers


@pytest.mark.parametrize("name", registry.names("workloads"))
def test_a_workload_has_the_methods_of_its_contract(name):
    workload = make("workloads", name)
    assert list(inspect.signature(workload.train).parameters)[:4] == ["configuration", "seeds", "report", "data"]
    assert all(callable(getattr(workload, method)) for method in ("prepare", "check"))
    assert all(callable(getattr(workload, c)) for c in getattr(type(workload), "constraints", ()))


@pytest.mark.parametrize("name", registry.names("tracking"))
def test_a_tracker_hears_everything(name):
    from raysearch.tracking import Tracker

    calls = [name for name, member in vars(Tracker).items() if inspect.isfunction(member) and name[0] != "_"]
    assert len(calls) == 10
    tracker = make("tracking", name)
    for call in calls:
        wanted = list(inspect.signature(getattr(Tracker, call)).parameters)[1:]
        heard = list(inspect.signature(getattr(tracker, call)).parameters.values())
        assert [parameter.name for parameter in heard[: len(wanted)]] == wanted
        assert all(parameter.default is not inspect.Parameter.empty for parameter in heard[len(wanted) :])


@pytest.mark.parametrize("name", registry.names("execution"))
def test_an_executor_checks_and_runs(name):
    executor = make("execution", name)
    assert list(inspect.signature(executor.run).parameters) == ["runner", "workload"]
    assert list(inspect.signature(executor.check).parameters) == ["workload"]
