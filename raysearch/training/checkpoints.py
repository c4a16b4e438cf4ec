"""Checkpoints of the torch loop: an instance that was cut off goes on from its last kept epoch, to the same loss.

One safetensors file per instance, on storage that all workers see, with its plain values as JSON in the header: written
aside, brought to disk and renamed, nothing is unpickled. It only saves time: where it cannot be read or written, a
warning says so and the instance is trained as if there were none. The executor opts in by giving its `report` the
attribute `checkpoints`: a folder, and the least time between two writes in seconds. What a training is, by content, is
part of its file's name (training_fingerprint): no search takes over, overwrites or deletes another one's.
"""

from __future__ import annotations

import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from raysearch.records import InstanceKey
from raysearch.storage.whole_file import whole
from raysearch.training.averaging import Averaging
from raysearch.training.fingerprint import fingerprint
from raysearch.training.score import Trained

_log = logging.getLogger(__name__)
_DAMAGED = (safetensors.SafetensorError, LookupError, TypeError, ValueError, RuntimeError, OSError)
"""What a file that is cut short, empty, overwritten or of another network can raise on its way into a loop."""


@dataclass(frozen=True)
class Loop:
    """All that the rest of a training depends on, beside data and settings."""

    module: nn.Module
    optimizer: torch.optim.Optimizer
    averaging: Averaging
    generators: Mapping[str, torch.Generator]
    trained: Trained


class Checkpoint:
    """The kept state of one instance; of use to trainings with the same `fingerprint` only."""

    def __init__(self, path: Path, every_s: float, fingerprint: str) -> None:
        self.path, self._every_s, self._fingerprint = path, every_s, fingerprint
        self._saved = time.monotonic()
        self._warned = False

    @classmethod
    def of(cls, report: Callable[..., object], key: InstanceKey, *shaped_by: object) -> Checkpoint | None:
        """Return the checkpoint of an instance, None where the executor that made `report` keeps none.

        `shaped_by` is everything that the training depends on: workload, parameters, data, seed ...
        """
        place: tuple[str, float] | None = getattr(report, "checkpoints", None)
        if place is None:
            return None
        folder, every_s = place
        whole = fingerprint(*shaped_by)
        return cls(Path(folder, key.configuration_id, f"{key.seed}.{whole[:16]}.safetensors"), every_s, whole)

    @property
    def is_due(self) -> bool:
        """Whether the last state was written long enough ago."""
        return time.monotonic() - self._saved >= self._every_s

    def save(self, loop: Loop) -> None:
        """Write the state after an epoch, unless the last one was written a moment ago; a warning if it cannot be."""
        if not self.is_due:
            return
        tensors, plain = _state(loop)
        header = {"fingerprint": self._fingerprint, "plain": json.dumps(plain)}
        whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
        try:
            self._write(safetensors.torch.save(whole, header))
        except OSError as error:
            self._warn_once(error)
        self._saved = time.monotonic()

    def restore(self, loop: Loop, report: Callable[[int, float], None]) -> int:
        """Bring `loop` to the kept state, report its epochs again, and return their number, 0 where nothing fits."""
        before, plain_before = _state(loop)
        before = {name: value.detach().clone() for name, value in before.items()}
        try:
            kept = self._read()
            if kept is None:
                return 0
            _put_back(loop, *kept)
        except _DAMAGED as error:
            _log.warning("the checkpoint %s cannot be used, training starts at epoch 0: %s", self.path, error)
            for grown in loop.trained.curve, loop.trained.train_curve, loop.trained.recent:
                grown.clear()
            _put_back(loop, before, plain_before)  # half of a checkpoint would be another training
            self.drop()
            return 0
        for epoch, loss in enumerate(loop.trained.curve, 1):
            report(epoch, loss)
        return len(loop.trained.curve)

    def drop(self) -> None:
        """Delete it, and what a killed worker left half written: the instance has ended."""
        with contextlib.suppress(OSError):
            for path in self.path.parent.glob(f"{self.path.stem}.*"):
                path.unlink(missing_ok=True)

    def _read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Return tensors and plain values, None where there are none of this training."""
        if not self.path.is_file():
            return None
        with safetensors.safe_open(self.path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("fingerprint") != self._fingerprint:
                return None
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(header["plain"])  # noqa: SIM118

    def _write(self, content: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with whole(self.path, to_disk=True) as aside:  # or a power cut could leave an empty file under the final name
            aside.write_bytes(content)

    def _warn_once(self, error: OSError) -> None:
        if not self._warned:
            _log.warning("cannot keep the checkpoint %s, training goes on without: %s", self.path, error)
        self._warned = True


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
    tensors |= {f"best/{name}": value for name, value in loop.trained.best.state.items()}
    tensors |= {f"best_recent/{number}": value for number, value in enumerate(loop.trained.best.recent)}
    plain = {
        "curve": loop.trained.curve,
        "train_curve": loop.trained.train_curve,
        "groups": optimizer["param_groups"],
        "slots": plain_slots,
        "best": sorted(loop.trained.best.state),
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
    for name, generator in loop.generators.items():
        generator.set_state(tensors[f"generator/{name}"])
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random/cuda"], device)
    loop.trained.curve.extend(plain["curve"])
    loop.trained.train_curve.extend(plain["train_curve"])
    loop.trained.recent.extend(value.to(device) for _, value in sorted(part("recent/").items()))
    loop.trained.best.state = {name: tensors[f"best/{name}"].to(device) for name in plain["best"]}
    loop.trained.best.recent = [value.to(device) for _, value in sorted(part("best_recent/").items())]
    # last, as nothing takes it back: what comes before it has failed if a part is missing
    loop.averaging.restore({name: value.to(device) for name, value in part("average/").items()})
