"""Checkpoints of the torch loop: an instance that was cut off goes on from its last kept epoch, to the same loss.

One safetensors file per instance, on storage that all workers see, with its plain values as JSON in the header: written
aside and renamed, nothing is unpickled. The executor opts in by giving its `report` the attribute
`checkpoints`: a folder, and the least time between two writes in seconds.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from raysearch.records import InstanceKey
from raysearch.training_aids import Averaging


class Trained(Protocol):
    """What grows with every epoch."""

    curve: list[float]
    train_curve: list[float]
    recent: deque[Tensor]
    """Outputs of the last epochs."""


@dataclass(frozen=True)
class Loop:
    """All that the rest of a training depends on, beside data and settings."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    averaging: Averaging
    generators: Mapping[str, torch.Generator]
    trained: Trained


class Checkpoint:
    """The kept state of one instance. `settings` must be the same for it to be of use."""

    def __init__(self, path: Path, every_s: float, settings: str) -> None:
        self.path, self._every_s, self._settings = path, every_s, settings
        self._saved = time.monotonic()

    @classmethod
    def of(cls, report: Callable[[int, float], None], key: InstanceKey, *settings: object) -> Checkpoint | None:
        """Return the checkpoint of an instance, None where the executor that made `report` keeps none."""
        place: tuple[str, float] | None = getattr(report, "checkpoints", None)
        if place is None:
            return None
        folder, every_s = place
        return cls(Path(folder, key.configuration_id, f"{key.seed}.safetensors"), every_s, repr(settings))

    def save(self, loop: Loop) -> None:
        """Write the state after an epoch, unless the last one was written a moment ago."""
        if time.monotonic() - self._saved < self._every_s:
            return
        tensors, plain = _state(loop)
        header = {"settings": self._settings, "plain": json.dumps(plain)}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        aside = self.path.with_suffix(f".{os.getpid()}")
        whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        aside.write_bytes(safetensors.torch.save(whole, header))
        aside.replace(self.path)
        self._saved = time.monotonic()

    def restore(self, loop: Loop, report: Callable[[int, float], None]) -> int:
        """Bring `loop` to the kept state, report its epochs again, and return their number, 0 where nothing fits."""
        if not self.path.is_file():
            return 0
        with safetensors.safe_open(self.path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("settings") != self._settings:
                return 0
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
        _put_back(loop, tensors, json.loads(header["plain"]))
        for epoch, loss in enumerate(loop.trained.curve, 1):
            report(epoch, loss)
        return len(loop.trained.curve)

    def drop(self) -> None:
        """Delete it: the instance has ended."""
        self.path.unlink(missing_ok=True)


def _state(loop: Loop) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the state as named tensors and plain values."""
    optimizer = loop.optimizer.state_dict()
    tensors = {f"module/{name}": value for name, value in loop.module.state_dict().items()}
    average = loop.averaging.state()
    tensors |= {f"average/{name}": value for name, value in average.items()}
    plain_slots = []
    for number, slots in optimizer["state"].items():
        for name, value in slots.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{number}/{name}"] = value
            else:
                plain_slots.append((number, name, value))
    tensors |= {f"generator/{name}": generator.get_state() for name, generator in loop.generators.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    device = next(loop.module.parameters()).device
    if device.type == "cuda":
        tensors["random/cuda"] = torch.cuda.get_rng_state(device)
    tensors |= {f"recent/{number}": value for number, value in enumerate(loop.trained.recent)}
    plain = {
        "curve": loop.trained.curve,
        "train_curve": loop.trained.train_curve,
        "groups": optimizer["param_groups"],
        "slots": plain_slots,
        "frozen": [name for name, value in loop.module.named_parameters() if not value.requires_grad],
    }
    return tensors, plain


def _put_back(loop: Loop, tensors: Mapping[str, Tensor], plain: Mapping[str, Any]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    device = next(loop.module.parameters()).device
    loop.module.load_state_dict(part("module/"))
    for name, parameter in loop.module.named_parameters():
        parameter.requires_grad_(name not in plain["frozen"])
    slots: dict[int, dict[str, Any]] = {}
    for name, value in part("optimizer/").items():
        number, _, slot = name.partition("/")
        slots.setdefault(int(number), {})[slot] = value
    for number, slot, plain_value in plain["slots"]:
        slots.setdefault(int(number), {})[slot] = plain_value
    loop.optimizer.load_state_dict({"state": slots, "param_groups": plain["groups"]})
    loop.averaging.restore({name: value.to(device) for name, value in part("average/").items()})
    for name, generator in loop.generators.items():
        generator.set_state(tensors[f"generator/{name}"])
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    loop.trained.curve.extend(plain["curve"])
    loop.trained.train_curve.extend(plain["train_curve"])
    loop.trained.recent.extend(value.to(device) for _, value in sorted(part("recent/").items()))
