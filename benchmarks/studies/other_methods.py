"""Study 3: CLF and the mitigations of local instability on images, with a convolutional network.

    python benchmarks/studies/other_methods.py [--size quick|small|full]

The weights of CLF's forms are raced first, at the small size on fewer images; then all methods train on fresh seeds,
instances differing in their weights. Label entropy and churn are those of the predicted labels of test examples.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from _frame import Array, Bench, main, matrix
from _numbers import Estimate, detectable_ratio, of_one, of_rows, ratio
from _page import Page, boxed
from scipy import stats

from raysearch.registry import load

NAME = "other_methods"
MITIGATIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "label smoothing": {"loss": "label_smoothing", "loss_epsilon": 0.1},
    "TGTSS, own teachers": {"loss": "tgtss", "loss_tau": 1.0},
    "TGTSS, one teacher": {"loss": "tgtss", "loss_tau": 1.0, "loss_teacher_seed": 0},
    "EMA of the weights": {"average": "ema"},
}
LATE = "TGTSS, teachers' later half"
FORMS = {"clf": "constant reference", "clf_live": "reference learns", "clf_examples": "example by example"}
_NETWORK = {"network": "lenet", "kernel": 3, "optimizer": "AdamW", "lr": 0.001, "batch_size": 64}


@dataclass(frozen=True)
class Size:
    """Network, training and numbers of seeds; `weights` of CLF's forms are raced on `race_train` images."""

    network: dict[str, Any]
    workload: dict[str, Any]
    weights: dict[str, list[float]]
    race_train: int
    n_race: int
    n_instances: int
    n_ensemble: int


def _workload(n_train: int, epochs: int, n_test: int, downsample: int) -> dict[str, Any]:
    own = {"name": "images", "n_train": n_train, "epochs": epochs, "n_test": n_test, "downsample": downsample}
    return {**own, "n_validation": min(n_test, 1000), "vary": "weights", "loss": "cross_entropy"}


SIZES = {
    "quick": Size(
        {"conv": [4], "hidden": [8]}, _workload(200, 2, 200, 2), {"alpha": [0.5], "beta": [0.1]}, 200, 3, 6, 2
    ),
    "small": Size(
        {"conv": [8, 16], "hidden": [32]},
        _workload(10_000, 5, 10_000, 2),
        {"alpha": [0.3, 0.9], "beta": [0.0, 0.3]},
        1000,
        20,
        20,
        5,
    ),
    "full": Size(
        {"conv": [16, 32], "hidden": [64]},
        _workload(10_000, 20, 10_000, 1),
        {"alpha": [0.3, 0.6, 0.9], "beta": [0.0, 0.3, 1.0, 3.0]},
        10_000,
        20,
        50,
        5,
    ),
}


def study(bench: Bench, size: Size) -> Page:
    raced, races = _raced(bench, size)
    late = {**MITIGATIONS["TGTSS, own teachers"], "loss_teacher_from": size.workload["epochs"] // 2 + 1}
    clf = {f"CLF, {FORMS[form]}": {"loss": form, **own} for form, own in raced.items()}
    methods = {**MITIGATIONS, LATE: late, **clf}
    accuracy, labels = {}, {}
    for name, changes in methods.items():
        accuracy[name], labels[name], probabilities = _trained(bench, size, name, changes)
        if name == "plain":
            labels[f"ensemble of {size.n_ensemble}"] = _together(probabilities, size.n_ensemble)
    unrest = {name: _jackknife(_churn, own) for name, own in labels.items()}
    n = size.n_instances
    figure = boxed(accuracy, "test accuracy", f"Accuracy by method, {size.workload['n_train']:,} images")
    assert figure is not None
    return Page(
        "CLF and the mitigations of local instability",
        "Do training losses and averages made for stability make instances agree?",
        "CLF lowers the spread over 20 seeds at no loss of accuracy; label smoothing lowers churn (31.5 % on "
        "Clinc150); TGTSS reaches about 90 % of an ensemble's gain.",
        figure,
        _findings(accuracy, labels, unrest, clf, size),
        {
            f"{n} fresh seeds each, {size.workload['n_test']:,} test images": _rows(accuracy, labels, unrest, size),
            f"The race of CLF's weights: {size.n_race} seeds each, {size.race_train:,} images, validation loss": races,
        },
        [
            f"**Power.** With {n} seeds each a test of variances (5 %, two-sided) finds a ratio of standard deviations "
            f"of {detectable_ratio(n):.2f} or less with probability 80 %: what lies between that and 1 cannot be seen. "
            f"Of churn, by plain's jackknife, a change of {_detectable_churn(unrest['plain']):.0%} or more.",
            "Instances differ in their weights and the order of batches. Churn and label entropy: 95 % intervals by a "
            "jackknife over seeds. CLF's forms: `clf` has a constant reference, the mean task loss of the epoch "
            "before; that of `clf_live` is the batch before under the weights of now, and learns; `clf_examples` "
            "penalises the change of each example's loss since the epoch before. Of each form those weights went on "
            "whose std in the race was the least among those whose mean was no worse than plain's by more than a "
            "standard error, or of all where none was.",
        ],
    )


def _together(probabilities: Array, n: int) -> Array:
    """Return the labels of ensembles of `n` instances each, `(n_ensembles, n_test)`."""
    whole = len(probabilities) // n * n
    labels: Array = probabilities[:whole].reshape(-1, n, *probabilities.shape[1:]).mean(axis=1).argmax(axis=2)
    return labels


def _rows(
    accuracy: dict[str, Array], labels: dict[str, Array], unrest: dict[str, Estimate], size: Size
) -> list[dict[str, object]]:
    rows = []
    reference = unrest["plain"].value - unrest[f"ensemble of {size.n_ensemble}"].value
    for name, own in labels.items():
        row: dict[str, object] = {"method": name, "n": len(own), "churn": str(unrest[name])}
        row["label entropy, nats"] = str(_jackknife(_entropy, own))
        if name != "plain":
            row["share of the ensemble's gain in churn"] = (
                f"{(unrest['plain'].value - unrest[name].value) / reference:.0%}"
            )
        if name in accuracy:
            row |= {"accuracy": str(of_one(accuracy[name], "mean")), "std": f"{accuracy[name].std(ddof=1):.2g}"}
            if name != "plain":
                row["std over plain's"] = str(ratio(accuracy[name], accuracy["plain"], "std", paired=True))
        rows.append(row)
    return rows


def _raced(bench: Bench, size: Size) -> tuple[dict[str, dict[str, float]], list[dict[str, object]]]:
    """Return the weights of each of CLF's forms that win by the std at no loss of the mean, and the race's table."""
    found = {}
    for form in FORMS:
        weights = {f"loss_{name}": own for name, own in size.weights.items()}
        if form == "clf":  # the other forms are the same without their stable term
            weights["loss_alpha"] = [0.0, *weights["loss_alpha"]]
            weights["loss_beta"] = sorted({0.0, *weights["loss_beta"]})
        space = {**_NETWORK, **{name: [own] for name, own in size.network.items()}, "loss": [form], **weights}
        workload = {**size.workload, "n_train": size.race_train}
        table = bench.instances(f"race_{form}", workload, space, size.n_race, seed=1)
        losses, parameters = matrix(table, "loss")
        for own, given in zip(losses, parameters, strict=True):
            found[form, given["loss_alpha"], given["loss_beta"]] = own
    plain = found["clf", 0.0, 0.0]
    level = plain.mean() + plain.std(ddof=1) / np.sqrt(len(plain))
    spread = load("criteria", "std")
    chosen, rows = {}, []
    for form in FORMS:
        tried = {key: own for key, own in found.items() if key[0] == form and key[1:] != (0.0, 0.0)}
        allowed = {key: own for key, own in tried.items() if own.mean() <= level} or tried
        _, alpha, beta = min(allowed, key=lambda key: float(spread(allowed[key])))
        chosen[form] = {"loss_alpha": alpha, "loss_beta": beta}
    for (form, alpha, beta), own in found.items():
        taken = "yes" if chosen[form] == {"loss_alpha": alpha, "loss_beta": beta} else ""
        row: dict[str, object] = {"form": form, "alpha": alpha, "beta": beta, "mean": float(own.mean())}
        rows.append({**row, "std over plain's": str(ratio(own, plain, "std", paired=True)), "goes on": taken})
    return chosen, rows


def _trained(bench: Bench, size: Size, name: str, changes: dict[str, Any]) -> tuple[Array, Array, Array]:
    """Return test accuracies, predicted labels `(n_instances, n_test)` and probabilities of a method's instances."""
    from raysearch.tracking._weight_callback import kept

    space = {key: [value] for key, value in {**_NETWORK, **size.network, **changes}.items()}
    cell = re.sub("[^a-z0-9]+", "_", name.lower())
    # the measure makes the search keep all weights
    asked = [{"name": "local_instability", "of": "all"}]
    table = bench.instances(cell, size.workload, space, size.n_instances, measures=asked)
    folder = bench.runs / bench.size / bench.name / cell
    workload = load("workloads", **size.workload)
    data, ordered = workload.prepare(), table.sort_values("instance")
    weights = kept(folder, str(ordered["configuration_id"].iloc[0]))
    parameters = {**_NETWORK, **size.network, **changes}
    told = [
        workload.predict(parameters, weights[int(seed)].read_bytes(), data["test_images"]) for seed in ordered["seed"]
    ]
    probabilities = np.asarray(told)
    labels = probabilities.argmax(axis=2)
    return (labels == data["test_labels"]).mean(axis=1), labels, probabilities


def _churn(labels: Array) -> float:
    pairs = [np.mean(one != other) for one, other in itertools.combinations(labels, 2)]
    return float(np.mean(pairs))


def _entropy(labels: Array) -> float:
    shares = np.stack([(labels == own).mean(axis=0) for own in range(int(labels.max()) + 1)])
    return float(-(shares * np.log(np.where(shares > 0, shares, 1.0))).sum(axis=0).mean())


def _jackknife(statistic: Callable[[Array], float], labels: Array) -> Estimate:
    """Return a statistic of instances with its interval; a bootstrap would compare instances with themselves."""
    n, whole = len(labels), statistic(labels)
    if n < 3:
        return Estimate(whole, np.nan, np.nan, n)
    left = np.asarray([statistic(np.delete(labels, row, axis=0)) for row in range(n)])
    reach = float(stats.t.ppf(0.975, n - 1) * np.sqrt((n - 1) / n * np.square(left - left.mean()).sum()))
    return Estimate(whole, whole - reach, whole + reach, n)


def _detectable_churn(plain: Estimate) -> float:
    """Return the least relative change of churn that is found at 5 % with probability 80 %, both as uncertain."""
    error = (plain.high - plain.low) / (2 * stats.t.ppf(0.975, plain.n - 1)) / plain.value
    return float((stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * np.sqrt(2) * error)


def _findings(
    accuracy: dict[str, Array],
    labels: dict[str, Array],
    unrest: dict[str, Estimate],
    clf: dict[str, dict[str, Any]],
    size: Size,
) -> Sequence[str]:
    sentences = []
    for name, own in clf.items():
        found = ratio(accuracy[name], accuracy["plain"], "std", paired=True)
        level = of_rows(lambda a, b: float(np.mean(a - b)), accuracy[name], accuracy["plain"])
        sentences.append(
            f"{name} (alpha {own['loss_alpha']:g}, beta {own['loss_beta']:g}): std of the accuracy over plain's "
            f"{found}: {found.against(1)}; mean accuracy less plain's {level}."
        )
    n = len(labels["plain"])
    for name in (*MITIGATIONS, LATE, *clf):
        if name != "plain":
            # seeds are paired: the same left-out seed in both
            both = np.concatenate([labels[name], labels["plain"]], axis=1)
            split = labels[name].shape[1]
            found = _jackknife(lambda own, at=split: _churn(own[:, :at]) / _churn(own[:, at:]), both)
            sentences.append(f"{name}: churn over plain's {found}: {found.against(1)}.")
    together = unrest[f"ensemble of {size.n_ensemble}"]
    sentences.append(
        f"The ensemble of {size.n_ensemble} has churn {together} from {together.n} ensembles; plain {unrest['plain']} "
        f"from {n} instances."
    )
    return sentences


if __name__ == "__main__":
    main(NAME, __doc__, SIZES, study)
