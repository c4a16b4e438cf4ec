import gzip
import re
import struct
from pathlib import Path

import numpy as np
import pytest
from packed import check_pack

from raysearch import registry
from raysearch.errors import ExperimentError, UnknownNameError, WorkloadError
from raysearch.records import Configuration, Status
from raysearch.training.packs import instances as training_packs
from raysearch.workloads._image_files import DEBIAN

TRAINING = {"optimizer": "AdamW", "lr": 0.01, "batch_size": 16}
NETWORKS = {
    "perceptron": {"network": "perceptron", "hidden": [8], **TRAINING},
    "lenet": {"network": "lenet", "conv": [4, 8], "kernel": 3, "hidden": [16], **TRAINING},
    "resnet": {"network": "resnet", "width": 4, "blocks": 1, "stages": 2, **TRAINING},
}
N_TRAIN, N_TEST = 120, 40


def quiet(epoch, loss):
    pass


def make(folder, **settings):
    few = {"n_validation": 20, "epochs": 3, "shape": [1, 12, 12], "n_classes": 4}
    return registry.load("workloads", "images", folder=str(folder), **(few | settings))


def drawn(n, channels=1):
    """Return images whose class is which quarter of them is bright."""
    generator = np.random.default_rng(n)
    labels = np.arange(n) % 4
    images = generator.integers(0, 60, size=(n, channels, 12, 12), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 6 * (label // 2) :][:, :6, 6 * (label % 2) :][..., :6] += 120
    return images, labels


def idx(array):
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_idx(folder, suffix="", mark="-"):
    folder.mkdir(exist_ok=True)
    for part, n in (("train", N_TRAIN), ("t10k", N_TEST)):
        images, labels = drawn(n)
        for what, array in (("images", images[:, 0]), ("labels", labels.astype(np.uint8))):
            content = idx(array)
            name = f"{part}-{what}{mark}idx{array.ndim}-ubyte{suffix}"
            (folder / name).write_bytes(gzip.compress(content) if suffix else content)
    return folder


def arrays(**changes):
    (train, y), (test, y_test) = drawn(N_TRAIN), drawn(N_TEST)
    return {"x_train": train, "y_train": y, "x_test": test, "y_test": y_test} | changes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_idx(tmp_path_factory.mktemp("idx"), ".gz")


@pytest.fixture(scope="module")
def data(folder):
    return make(folder).prepare()


# ---- files


def check_sets(data):
    assert data["pool_images"].shape == (100, 1, 12, 12)
    assert data["validation_labels"].shape == (20,)
    np.testing.assert_array_equal(data["test_images"], drawn(N_TEST)[0])
    np.testing.assert_array_equal(data["test_labels"], drawn(N_TEST)[1])
    whole = np.concatenate([data["pool_images"], data["validation_images"]])
    assert sorted(image.tobytes() for image in whole) == sorted(image.tobytes() for image in drawn(N_TRAIN)[0])


@pytest.mark.parametrize(("suffix", "mark"), [("", "-"), (".gz", "-"), ("", ".")])
def test_idx_files_are_read_plain_and_gzipped(tmp_path, suffix, mark):
    check_sets(make(write_idx(tmp_path, suffix, mark)).prepare())


def test_arrays_are_read_in_every_form_that_data_sets_have(tmp_path):
    made = arrays()
    np.savez(tmp_path / "one.npz", **made)
    check_sets(make(tmp_path).prepare())
    check_sets(make(tmp_path / "one.npz").prepare())
    flat = {name: array[:, 0] if name.startswith("x") else array[:, None] for name, array in made.items()}
    other = dict(zip(("train_images", "train_labels", "test_images", "test_labels"), flat.values(), strict=True))
    (tmp_path / "flat").mkdir()
    np.savez_compressed(tmp_path / "flat" / "medical.npz", **other, val_images=flat["x_test"])
    check_sets(make(tmp_path / "flat").prepare())
    (tmp_path / "loose").mkdir()
    for name, array in made.items():
        np.save(tmp_path / "loose" / f"{name}.npy", np.moveaxis(array, 1, 3) if name.startswith("x") else array)
    check_sets(make(tmp_path / "loose").prepare())


def test_cifar_binaries_are_read_as_images_too(tmp_path):
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        labels = np.arange(10, dtype=np.uint8)
        content = generator.integers(0, 255, size=(10, 3 * 32 * 32), dtype=np.uint8)
        np.concatenate([labels[:, None], content], axis=1).tofile(tmp_path / name)
    colour = {"shape": [3, 32, 32], "n_classes": 10, "n_validation": 10, "split_seed": 3}
    ours = make(tmp_path, **colour).prepare()
    known = registry.load("workloads", "cifar10", folder=str(tmp_path), n_validation=10, split_seed=3).prepare()
    assert all(np.array_equal(ours[name], known[name]) for name in known)


def test_images_are_made_smaller_by_squares_and_fewer_judge(folder, data):
    small = make(folder, downsample=2, n_test=16).prepare()
    squares = data["pool_images"].astype(float).reshape(100, 1, 6, 2, 6, 2).mean(axis=(3, 5))
    assert np.abs(small["pool_images"] - squares).max() <= 0.5
    assert small["test_images"].shape == (16, 1, 6, 6)
    assert np.bincount(small["test_labels"]).min() > 0


@pytest.mark.parametrize(
    ("prepared", "text"),
    [
        (lambda to: None, "no images in .*: set workload.folder to a folder with train-images-idx3-ubyte and"),
        (lambda to: (write_idx(to) / "t10k-labels-idx1-ubyte").unlink(), "lacks t10k-labels"),
        (lambda to: cut(write_idx(to) / "train-images-idx3-ubyte"), "train-images-idx3-ubyte is no whole IDX file"),
        (lambda to: cut(write_idx(to, ".gz") / "train-images-idx3-ubyte.gz"), "cannot be read: .* Is it whole"),
        (lambda to: np.savez(to / "a.npz", x_train=[1]), "must hold the arrays x_train.* it has x_train"),
        (lambda to: np.savez(to / "a.npz", **arrays(x_test=np.zeros((4, 12, 12)))), r"must be bytes.*astype\('uint8'"),
        (lambda to: np.savez(to / "a.npz", **arrays(y_test=np.zeros(3, int))), "labels must be 40 whole numbers"),
        (lambda to: np.savez(to / "a.npz", **arrays(y_test=np.full(40, 7))), "labels in .* go from 7 to 7"),
        (lambda to: np.save(to / "x_train.npy", np.array([{}], dtype=object), allow_pickle=True), "cannot be read"),
        (lambda to: (to / "a.npz").write_bytes(b"PK\x03\x04no"), "cannot be read as NumPy arrays"),
        (lambda to: [np.savez(to / f"{name}.npz", **arrays()) for name in "ab"], "its 2 .npz files leave open which"),
    ],
)
def test_what_is_no_data_set_is_a_clear_error(tmp_path, prepared, text):
    prepared(tmp_path)
    with pytest.raises(WorkloadError, match=re.compile(text, re.S)):
        make(tmp_path).prepare()


def cut(path):
    path.write_bytes(path.read_bytes()[:-20])


def test_the_default_says_which_package_has_the_images(monkeypatch):
    workload = registry.load("workloads", "images")
    assert workload.folder == DEBIAN
    monkeypatch.setattr(Path, "is_file", lambda self: False)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: iter(()))
    with pytest.raises(WorkloadError, match="apt install dataset-fashion-mnist"):
        workload.prepare()


@pytest.mark.skipif(not Path(DEBIAN).is_dir(), reason="apt install dataset-fashion-mnist")
def test_fashion_mnist_is_what_the_defaults_describe():
    data = registry.load("workloads", "images", n_validation=1).prepare()
    assert data["pool_images"].shape == (59_999, 1, 28, 28)
    assert data["test_labels"].shape == (10_000,)
    assert data["pool_images"].mean() / 255 == pytest.approx(0.286, abs=0.0005)
    assert data["pool_images"].std() / 255 == pytest.approx(0.353, abs=0.0005)


# ---- networks


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_learn_repeat_and_predict(name, folder, data):
    workload, parameters = make(folder, epochs=6), NETWORKS[name]
    workload.check(parameters)
    configuration = Configuration.of(parameters)
    one, two = workload.train(configuration, [1, 2], quiet, data)
    (again,) = workload.train(configuration, [1], quiet, data)
    assert (one.curve, one.weights) == (again.curve, again.weights)
    assert one.weights != two.weights
    assert one.status is Status.COMPLETE
    assert one.loss == pytest.approx(1.0 - one.metrics["accuracy"], abs=1e-6)
    assert one.metrics["test_accuracy"] > 0.6
    probabilities = workload.predict(parameters, one.weights, data["test_images"])
    assert probabilities.shape == (40, 4)
    assert np.mean(probabilities.argmax(axis=1) == data["test_labels"]) == pytest.approx(one.metrics["test_accuracy"])
    assert workload.example(data).shape == (5, 1, 12, 12)


def test_a_model_answers_images_of_the_files_size_and_smaller_ones(folder, data):
    workload, parameters = make(folder, downsample=2, epochs=1), NETWORKS["perceptron"]
    small = workload.prepare()
    (result,) = workload.train(Configuration.of(parameters), [1], quiet, small)
    whole = workload.predict(parameters, result.weights, data["test_images"])
    np.testing.assert_array_equal(whole, workload.predict(parameters, result.weights, small["test_images"]))


@pytest.mark.parametrize("more", [{}, {"flip": True, "dropout": 0.2}, {"loss": "clf", "schedule": "cosine"}])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_train_in_packs_as_they_do_alone(name, more, folder, data, monkeypatch):
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))
    check_pack(make(folder), data, [{**NETWORKS[name], **more}, {**NETWORKS[name], **more, "lr": 0.003}])


@pytest.mark.parametrize(
    ("parameters", "n"),
    [
        ({"network": "perceptron", "hidden": []}, 7_850),
        ({"network": "perceptron", "hidden": [100, 50]}, 78_500 + 5_050 + 510),
        ({"network": "perceptron"}, 785 * 128 + 129 * 10),
        # LeNet-5's layers, but padded: 7 x 7 x 16 inputs of the first full one
        ({}, 26 * 6 + 151 * 16 + 785 * 120 + 121 * 84 + 85 * 10),
        ({"network": "resnet"}, 11_173_962 - 2 * 9 * 64),  # ResNet-18 of CIFAR-10, with one colour in place of three
        ({"network": "resnet", "width": 4, "blocks": 1, "stages": 1}, 9 * 4 + 8 + 2 * (9 * 16 + 8) + 50),
    ],
)
def test_networks_have_the_parameters_that_one_counts(parameters, n):
    assert registry.load("workloads", "images").n_parameters(parameters) == n


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"widht": 4}, "Did you mean 'width'"),
        ({"network": "lenett"}, "unknown network 'lenett'. Did you mean 'lenet'"),
        ({"network": ["lenet"]}, "unknown network"),
        ({"width": 4}, r"width is no parameter of a lenet, whose are conv, .* when: {network: \[resnet\]}}"),
        ({"conv": [2, 2, 2, 2]}, "conv has 4 layers, each halving the side, but images are 12 x 12"),
        ({"kernel": 4}, "kernel must be"),
        ({"hidden": "32"}, "is not a list of whole numbers"),
        ({"dropout": 1.0}, "dropout must be below 1"),
        ({"momentum": 0.9}, "AdamW has none"),
    ],
)
def test_bad_parameters_are_refused(folder, change, text):
    with pytest.raises(ExperimentError, match=text):
        make(folder).check({**TRAINING, **change})


def test_bad_settings_are_refused(folder):
    with pytest.raises(ExperimentError, match="downsample = 5 does not divide 12 x 12"):
        make(folder, downsample=5)
    with pytest.raises(UnknownNameError, match="cross_entropy"):
        make(folder, loss="crossentropy")
    with pytest.raises(WorkloadError, match=r"1 x 12 x 12 and workload.shape says 3 x 12 x 12: set shape: \[1, 12"):
        make(folder, shape=[3, 12, 12]).prepare()
    with pytest.raises(WorkloadError, match="100 validation and 30 training examples are more than the 120"):
        make(folder, n_validation=100, n_train=30).prepare()
    with pytest.raises(WorkloadError, match=r"n_test = 41, but .* has 40 test examples"):
        make(folder, n_test=41).prepare()


def test_an_instance_can_be_measured(folder, data):
    from raysearch.training.measures._subjects import answers

    workload, parameters = make(folder, loss="cross_entropy"), NETWORKS["lenet"]
    (result,) = workload.train(Configuration.of(parameters), [3], quiet, data)
    for examples, loss in (("validation", result.loss), ("test", result.test_loss)):
        subject = workload.load_for_evaluation(parameters, result.weights, 3, data, examples)
        assert float(subject.task(answers(subject.module, subject.inputs), subject.targets)) == pytest.approx(loss)


@pytest.mark.parametrize("score", ["difference", "clean", "adversarial"])
def test_fragile_layers_are_frozen_though_images_are_bytes(score, folder, data):
    workload = make(folder)
    plain, frozen = (
        workload.train(Configuration.of({**NETWORKS["lenet"], **more}), [1], quiet, data)[0]
        for more in ({}, {"freeze_from": 2, "freeze_score": score})
    )
    assert frozen.status is Status.COMPLETE
    assert frozen.curve[0] == plain.curve[0]


@pytest.mark.parametrize("loss", registry.names("losses"))
def test_every_training_loss_takes_images_of_bytes(loss, folder, data):
    if loss not in ("rmse", "relative_rmse"):  # of numbers, not of classes
        (result,) = make(folder).train(Configuration.of({**NETWORKS["lenet"], "loss": loss}), [1], quiet, data)
        assert result.status is Status.COMPLETE


@pytest.mark.parametrize("name", [one for one in registry.names("measures") if one != "local_instability"])
def test_every_measure_of_an_instance_takes_images_of_bytes(name, folder, data):
    workload, parameters = make(folder), NETWORKS["lenet"]
    (result,) = workload.train(Configuration.of(parameters), [1], quiet, data)
    subject = workload.load_for_evaluation(parameters, result.weights, 1, data, "validation")
    assert np.isfinite([*registry.load("measures", name)(subject).numbers.values()]).all()
