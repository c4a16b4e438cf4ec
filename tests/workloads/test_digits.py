import itertools

import numpy as np
import pytest
import torch

from raysearch import registry
from raysearch.errors import ExperimentError, UnknownNameError
from raysearch.records import Configuration, Status
from raysearch.training import loop
from raysearch.workloads._digits import Classifier

TRAINING = {"optimizer": "AdamW", "lr": 0.01, "batch_size": 32}
PERCEPTRON = {"hidden": [32], **TRAINING}
CONVOLUTIONS = {"hidden": [32], "conv": [16, 16], "dropout": 0.1, **TRAINING}


def quiet(epoch, loss):
    pass


def make(**settings):
    return registry.load("workloads", "digits", **({"epochs": 5, "n_train": 400} | settings))


@pytest.fixture(scope="module")
def data():
    return make().prepare()


def test_the_split_is_fixed_and_without_overlap(data):
    assert [len(data[f"{name}_labels"]) for name in ("pool", "validation", "test")] == [1197, 300, 300]
    images = np.concatenate([data[f"{name}_images"] for name in ("pool", "validation", "test")]).reshape(1797, -1)
    assert images.min() == 0.0
    assert images.max() == 1.0
    assert np.array_equal(make().prepare()["test_images"], data["test_images"])


@pytest.mark.parametrize("parameters", [PERCEPTRON, CONVOLUTIONS])
def test_networks_learn_and_repeat(parameters, data):
    workload, configuration = make(), Configuration.of(parameters)
    workload.check(parameters)
    one, two = workload.train(configuration, [1, 2], quiet, data)
    (again,) = workload.train(configuration, [1], quiet, data)
    assert (one.loss, one.curve, one.weights) == (again.loss, again.curve, again.weights)
    assert one.loss != two.loss
    assert one.status is Status.COMPLETE
    assert one.metrics["accuracy"] > 0.8
    assert 0.75 < one.metrics["test_accuracy"] <= 1.0
    assert one.loss < 1.0


def test_the_error_can_steer_instead_of_the_cross_entropy(data):
    (result,) = make(loss="error").train(Configuration.of(PERCEPTRON), [1], quiet, data)
    assert result.loss == pytest.approx(1.0 - result.metrics["accuracy"], abs=1e-6)
    assert result.test_loss == pytest.approx(1.0 - result.metrics["test_accuracy"], abs=1e-6)


def test_predict_gives_probabilities_that_agree_with_the_accuracy(data):
    workload = make()
    (result,) = workload.train(Configuration.of(CONVOLUTIONS), [1], quiet, data)
    probabilities = workload.predict(CONVOLUTIONS, result.weights, data["test_images"])
    assert probabilities.shape == (300, 10)
    scores = loop.answer(workload.network(CONVOLUTIONS), result.weights, data["test_images"])
    np.testing.assert_allclose(probabilities, torch.as_tensor(scores).softmax(dim=1), rtol=1e-5)
    accuracy = np.mean(probabilities.argmax(axis=1) == data["test_labels"])
    assert accuracy == pytest.approx(result.metrics["test_accuracy"], abs=1e-6)
    assert workload.example(data).shape == (5, 8, 8)


def test_the_formula_counts_what_torch_counts():
    for conv, hidden in itertools.product([[], [4], [4, 6], [4, 6, 8]], [[], [5], [7, 3]]):
        classifier = Classifier.of({"conv": conv, "hidden": hidden})
        n = sum(parameter.numel() for parameter in classifier.network().parameters())
        assert classifier.n_parameters == n, (conv, hidden)
        assert make().n_parameters({"conv": conv, "hidden": hidden}) == n, (conv, hidden)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"hiden": [3]}, "Did you mean 'hidden'"),
        ({"hidden": "32"}, "hidden = '32' is not a list of whole numbers"),
        ({"conv": [2, 2, 2, 2]}, "conv must be a list of 3 or fewer"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"activation": "PReLu"}, "Did you mean 'ReLU'"),
        ({"momentum": 0.9}, "AdamW has none"),
    ],
)
def test_bad_parameters_are_refused(change, text):
    with pytest.raises(ExperimentError) as caught:
        make().check(PERCEPTRON | change)
    assert text in str(caught.value)


def test_bad_settings_are_refused():
    with pytest.raises(ExperimentError, match="leave only 1197 of 1797"):
        make(n_train=1500)
    with pytest.raises(UnknownNameError, match="cross_entropy"):
        make(loss="crossentropy")
    with pytest.raises(ExperimentError, match="'hidden' is missing"):
        make().check(TRAINING)


def test_an_instance_can_be_measured_on_examples_of_either_kind():
    from raysearch.training.measures._subjects import answers

    workload = make(n_train=200, epochs=2)
    data = workload.prepare()
    parameters = {"hidden": [8], "optimizer": "AdamW", "lr": 0.01, "batch_size": 32}
    (result,) = workload.train(Configuration.of(parameters), [3], lambda *_: None, data)
    for examples, loss in (("validation", result.loss), ("test", result.test_loss)):
        subject = workload.load_for_evaluation(parameters, result.weights, 3, data, examples)
        assert float(subject.task(answers(subject.module, subject.inputs), subject.targets)) == pytest.approx(loss)
        assert len(subject.taught[0]) == 200
