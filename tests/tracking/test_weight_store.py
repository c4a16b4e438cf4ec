"""Weights on disk until it is known whose are needed."""

from __future__ import annotations

from pathlib import Path

from raysearch.records import InstanceKey
from raysearch.storage.weights import WeightStore


def test_keeps_and_drops_by_configuration(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "weights")
    for configuration in ("aa", "bb", "cc"):
        for seed in (2, 10):
            store.keep(InstanceKey(configuration, seed), f"{configuration}{seed}".encode())
    assert {seed: path.read_bytes() for seed, path in store.kept("bb").items()} == {2: b"bb2", 10: b"bb10"}
    store.drop("aa")
    assert store.kept("aa") == {}
    assert store.keep(InstanceKey("aa", 3), b"late") is None, "an instance that ends after the elimination"
    store.drop_all_but("cc")
    assert sorted(path.name for path in store.folder.iterdir()) == ["cc"]


def test_nothing_kept_is_no_error(tmp_path: Path) -> None:
    store = WeightStore(tmp_path / "weights")
    store.drop_all_but("aa")
    assert store.kept("aa") == {}
    assert not store.folder.exists()
