import math

import numpy as np
import pytest

from raysearch.training.measures.local_instability import LocalInstability, ensembles, epoch_instability


def sure(labels, n_classes=3):
    return np.eye(n_classes)[np.asarray(labels)]


def test_label_entropy_of_known_votes():
    # example 0: all four agree; example 1: 2 to 2; example 2: 2, 1, 1
    p = sure([[0, 0, 0], [0, 0, 0], [0, 1, 1], [0, 1, 2]])
    found = LocalInstability()(p, np.array([0, 0, 2]))
    entropies = [0.0, math.log(2), 0.5 * math.log(2) + 0.5 * math.log(4)]
    assert found.arrays["label_entropy"] == pytest.approx(entropies)
    assert found.numbers["instability"] == pytest.approx(sum(entropies) / 3)
    assert found.numbers["unstable_share"] == pytest.approx(2 / 3)
    # of 6 pairs: 0, 4 and 5 disagree
    assert found.numbers["churn"] == pytest.approx((0 + 4 / 6 + 5 / 6) / 3)
    assert found.numbers["error"] == pytest.approx(1 - (1 + 0.5 + 0.25) / 3)
    assert [row["example"] for row in found.tables["worst"]] == [2, 1, 0]


def test_confidence_of_the_true_class_and_its_spread():
    p = np.array([[[0.8, 0.2]], [[0.4, 0.6]]])
    found = LocalInstability()(p, np.array([0]))
    assert found.numbers["confidence"] == pytest.approx(0.6)
    assert found.numbers["confidence_spread"] == pytest.approx(0.2)
    assert found.numbers["error"] == 0.5
    assert found.numbers["ensemble_error"] == 0.0  # mean (0.6, 0.4)


def test_one_instance_agrees_with_itself():
    found = LocalInstability()(sure([[0, 1]]), np.array([0, 0]))
    assert found.numbers["instability"] == found.numbers["churn"] == 0.0


def test_a_regression_has_a_spread():
    found = LocalInstability(n_worst=1)(np.array([[1.0, 0.0], [3.0, 0.0]]), np.array([2.0, 0.0]))
    assert found.arrays["spread"] == pytest.approx([1.0, 0.0])
    # each instance errs by 1 on one of two examples, their mean on none
    assert found.numbers == pytest.approx({"instability": 0.5, "error": 0.5**0.5, "ensemble_error": 0.0})
    assert found.tables["worst"] == [{"example": 0, "target": 2.0, "spread": 1.0, "mean": 2.0}]


def test_ensembles_are_means_of_consecutive_instances():
    outputs = np.arange(10.0).reshape(5, 2)
    assert ensembles(outputs, 2).tolist() == [[1.0, 2.0], [5.0, 6.0]]


def test_the_order_of_instances_changes_nothing():
    p = np.random.default_rng(0).dirichlet(np.ones(4), size=(7, 30))
    targets = np.arange(30) % 4
    one, other = LocalInstability()(p, targets), LocalInstability()(p[::-1], targets)
    assert one.numbers == pytest.approx(other.numbers)


def test_outputs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        LocalInstability()(np.zeros((2, 3)), np.zeros(4))


def test_over_epochs_only_the_number_is_computed_and_it_is_the_same():
    generator = np.random.default_rng(0)
    scores, targets = generator.normal(size=(5, 40, 3)), generator.integers(3, size=40)
    numbers = generator.normal(size=(5, 40))
    assert epoch_instability(scores) == pytest.approx(LocalInstability()(scores, targets).numbers["instability"])
    assert epoch_instability(numbers) == pytest.approx(LocalInstability()(numbers, targets).numbers["instability"])
    assert epoch_instability(scores[:1]) == 0.0
    assert epoch_instability(np.eye(2)[[[0, 0], [1, 0]]]) == pytest.approx(np.log(2) / 2)
