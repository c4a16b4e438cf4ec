from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from packed import assert_same, check_pack
from torch import nn

from raysearch import registry
from raysearch.errors import ExperimentError, WorkloadError
from raysearch.records import Configuration, Status
from raysearch.training.packs import instances as training_packs
from raysearch.training.packs.turns import Draws
from raysearch.workloads.cifar10 import Cifar10

PARAMETERS = {"width": 4, "blocks": 1, "optimizer": "AdamW", "lr": 0.01, "batch_size": 16}


def quiet(epoch, loss):
    pass


def make(folder, **settings):
    return registry.load(
        "workloads", "cifar10", **({"folder": str(folder), "n_validation": 20, "epochs": 3} | settings)
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Made images in the real binary format: the label is how bright the red channel is."""
    path = tmp_path_factory.mktemp("cifar-10-batches-bin")
    generator = np.random.default_rng(0)
    for name in [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]:
        labels = np.arange(24, dtype=np.uint8) % 10
        images = generator.integers(0, 30, size=(24, 3, 32, 32), dtype=np.uint8)
        images[:, 0] += 20 * labels[:, None, None]
        np.concatenate([labels[:, None], images.reshape(24, -1)], axis=1).tofile(path / name)
    return path


@pytest.fixture(scope="module")
def data(folder):
    return make(folder).prepare()


def test_the_binary_format_is_read_as_it_is_written(folder, data):
    assert data["pool_images"].shape == (100, 3, 32, 32)
    assert data["validation_images"].shape == (20, 3, 32, 32)
    assert data["test_labels"].tolist() == [number % 10 for number in range(24)]
    red = data["test_images"][:, 0].mean(axis=(1, 2))
    assert np.all(np.abs(red - 15 - 20 * data["test_labels"]) < 2)


def test_a_small_resnet_trains_repeats_and_predicts(folder, data):
    workload, configuration = make(folder), Configuration.of(PARAMETERS)
    workload.check(PARAMETERS)
    one, two = workload.train(configuration, [1, 2], quiet, data)
    (again,) = workload.train(configuration, [1], quiet, data)
    assert (one.curve, one.weights) == (again.curve, again.weights)
    assert one.weights != two.weights
    assert one.status is Status.COMPLETE
    assert one.loss == pytest.approx(1.0 - one.metrics["accuracy"], abs=1e-6)
    probabilities = workload.predict(PARAMETERS, one.weights, data["test_images"])
    accuracy = np.mean(probabilities.argmax(axis=1) == data["test_labels"])
    assert accuracy == pytest.approx(one.metrics["test_accuracy"], abs=1e-6)
    assert workload.example(data).shape == (5, 3, 32, 32)


def test_the_default_is_resnet_18(folder):
    assert make(folder).n_parameters({}) == 11_173_962  # the usual count of ResNet-18 with a 3 x 3 stem, 10 classes


def test_a_folder_without_the_files_is_a_clear_error(tmp_path):
    with pytest.raises(WorkloadError, match=r"lacks data_batch_1\.bin.*binary version"):
        make(tmp_path / "nowhere").prepare()


def test_another_format_is_a_clear_error(folder, tmp_path):
    for name in ("data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    (tmp_path / "test_batch.bin").write_bytes(b"\x80\x04pickled")
    with pytest.raises(WorkloadError, match=r"test_batch\.bin is not in the binary format"):
        make(tmp_path).prepare()


def test_bad_input_is_refused(folder):
    with pytest.raises(ExperimentError, match="Did you mean 'width'"):
        make(folder).check(PARAMETERS | {"widht": 4})
    with pytest.raises(ExperimentError, match="blocks must be at least 1, got 0"):
        make(folder).check(PARAMETERS | {"blocks": 0})
    with pytest.raises(WorkloadError, match="more than the 120"):
        make(folder, n_validation=120).prepare()


@pytest.mark.parametrize("more", [{}, {"flip": False, "dropout": 0.2}, {"average": "swa", "average_start": 0.3}])
def test_resnets_train_in_packs_as_they_do_alone(more, folder, data, monkeypatch):
    monkeypatch.setattr(training_packs, "_one_by_one", lambda *_: pytest.fail("trained one by one"))
    check_pack(make(folder), data, [{**PARAMETERS, **more}, {**PARAMETERS, **more, "lr": 0.003}])


# ---- the workload as it was before it became a special case of `images`: its losses must be the same, bit by bit


def _convolution(before, after, stride, side=3):
    return nn.Conv2d(before, after, side, stride, padding=side // 2, bias=False), nn.BatchNorm2d(after)


class _Mirror(Draws):
    def forward(self, values):
        if not self.training:
            return values
        mirrored = torch.rand(len(values), device=values.device) < 0.5
        return torch.where(mirrored[:, None, None, None], values.flip(3), values)


class _Block(nn.Module):
    def __init__(self, before, after, stride):
        super().__init__()
        self.path = nn.Sequential(*_convolution(before, after, stride), nn.ReLU(), *_convolution(after, after, 1))
        same = before == after and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(before, after, stride, side=1))

    def forward(self, values):
        return torch.relu(self.path(values) + self.shortcut(values))


class ResNetBefore(nn.Module):
    def __init__(self, width, blocks, dropout=0.0, flip=True):
        super().__init__()
        self.mirror = _Mirror() if flip else nn.Identity()
        layers = [*_convolution(3, width, stride=1), nn.ReLU()]
        before = width
        for stage in range(4):
            for number in range(blocks):
                after = width << stage
                layers.append(_Block(before, after, stride=2 if stage and not number else 1))
                before = after
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout), nn.Linear(before, 10))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.to(memory_format=torch.channels_last)

    def forward(self, images):
        values = self.mirror((images.float() / 255.0 - 0.473) / 0.251)
        return self.head(self.body(values.contiguous(memory_format=torch.channels_last)))


@dataclass(frozen=True)
class Cifar10Before(Cifar10):
    """Its network and its reading of files, restated."""

    def network(self, parameters):
        own = ("width", "blocks", "dropout", "flip")
        return ResNetBefore(**{name: parameters[name] for name in own if name in parameters})

    def prepare(self):
        def read(name):
            records = np.fromfile(Path(self.folder) / name, dtype=np.uint8).reshape(-1, 1 + 3 * 32 * 32)
            return records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0].astype(np.int64)

        parts = [read(f"data_batch_{number}.bin") for number in range(1, 6)]
        images, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.random.default_rng(self.split_seed).permutation(len(labels))
        rows = {"validation": order[: self.n_validation], "pool": order[self.n_validation :]}
        made = {f"{name}_images": images[own] for name, own in rows.items()}
        made |= {f"{name}_labels": labels[own] for name, own in rows.items()}
        made["test_images"], made["test_labels"] = read("test_batch.bin")
        return made


@pytest.mark.parametrize("more", [{}, {"flip": False, "dropout": 0.2}, {"loss": "label_smoothing", "blocks": 2}])
def test_its_losses_are_those_of_before_it_became_a_case_of_images(more, folder):
    settings = {"folder": str(folder), "n_validation": 20, "epochs": 2}
    now, before = Cifar10(**settings), Cifar10Before(**settings)
    parameters = {**PARAMETERS, **more}
    configuration, data = Configuration.of(parameters), now.prepare()
    for name, values in before.prepare().items():
        np.testing.assert_array_equal(data[name], values)
    (result,) = now.train(configuration, [1], quiet, data)
    (known,) = before.train(configuration, [1], quiet, data)
    assert_same(result, known)
    # a model that was kept then answers as it did
    images = data["test_images"]
    np.testing.assert_array_equal(
        now.predict(parameters, known.weights, images), before.predict(parameters, known.weights, images)
    )
