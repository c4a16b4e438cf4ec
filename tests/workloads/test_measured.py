import dataclasses
import math

import pytest

from raysearch.errors import WorkloadError
from raysearch.records import Configuration, InstanceKey, InstanceResult, Status
from raysearch.training.measures import MeasureResult
from raysearch.workloads._measured import Measured

CONFIGURATION = Configuration.of({"x": 1})


@dataclasses.dataclass(frozen=True)
class Trained:
    """Trains nothing; its subject is the word that says which examples were asked for."""

    loss: float = 0.5

    def prepare(self):
        return "data"

    def train(self, configuration, seeds, report, data):
        own = {"metrics": {"accuracy": 0.9}, "weights": b"", "test_loss": 0.6, "curve": (0.7, self.loss)}
        return [InstanceResult.of(InstanceKey(configuration.id, seed), self.loss, **own) for seed in seeds]

    def load_for_evaluation(self, parameters, weights, seed, data, examples):
        assert (parameters, weights, data) == ({"x": 1}, b"", "data")
        return examples


def measure(validation, test=0.0):
    return lambda examples: MeasureResult(
        {"width": validation if examples == "validation" else test, "layer.width": 9.0}
    )


def broken(examples):
    raise RuntimeError("no such layer")


def train(measures, of=None, loss=0.5):
    (result,) = Measured(Trained(loss), measures, of).train(CONFIGURATION, [4], lambda *_: None, "data")
    return result


def test_numbers_join_the_metrics_and_the_loss_stays():
    result = train({"one": measure(2.0)})
    assert result.metrics == {"accuracy": 0.9, "one.width": 2.0}
    assert (result.loss, result.test_loss) == (0.5, 0.6)


def test_a_measure_takes_the_place_of_the_loss_on_validation_and_on_test_examples():
    result = train({"one": measure(2.0, test=3.0), "other": measure(1.0)}, of="one.width")
    assert (result.loss, result.test_loss, result.status) == (2.0, 3.0, Status.COMPLETE)
    assert result.metrics["task_loss"] == 0.5
    assert result.curve == (0.7, 0.5)


def test_a_measure_that_is_not_finite_counts_as_infinite():
    result = train({"one": measure(math.nan)}, of="one.width")
    assert (result.loss, result.status) == (math.inf, Status.DIVERGED)


def test_a_metric_of_the_workload_can_steer_and_a_missing_one_is_named():
    assert train({}, of="accuracy").loss == 0.9
    with pytest.raises(WorkloadError, match="accuracy"):
        train({}, of="precision")


def test_metrics_that_must_be_there_beside_the_loss_are_not_given_up_quietly():
    def beside(measures, name):
        measured = Measured(Trained(), measures, None, (name,))
        return measured.train(CONFIGURATION, [4], lambda *_: None, "data")[0]

    assert beside({"one": measure(2.0)}, "one.width").loss == 0.5
    assert beside({}, "accuracy").metrics == {"accuracy": 0.9}
    with pytest.raises(RuntimeError, match="no such layer"):
        beside({"one": broken}, "one.width")
    with pytest.raises(WorkloadError, match=r"no metric 'latency'.* It has: accuracy"):
        beside({}, "latency")


def test_a_diverged_instance_is_not_measured():
    result = train({"one": broken}, of="one.width", loss=math.nan)
    assert (result.loss, result.status) == (math.inf, Status.DIVERGED)


def test_a_measure_that_fails_costs_no_instance_unless_it_steers():
    assert train({"one": broken}).loss == 0.5
    with pytest.raises(RuntimeError, match="no such layer"):
        train({"one": broken}, of="one.width")
