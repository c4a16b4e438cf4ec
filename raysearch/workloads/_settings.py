"""The settings that every torch workload has, checked and handed to the training loop in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raysearch.errors import ExperimentError, unknown
from raysearch.training.score import check_score
from raysearch.workloads._sources import check_vary

if TYPE_CHECKING:
    from raysearch.training.loop import Settings

_DEVICES = ("auto", "cpu", "cuda")


def check_settings(workload: Any, name: str) -> None:
    """Raise ExperimentError unless a training can have the settings of this workload; needs no torch.

    They are its fields epochs, vary, patience, score, n_threads and device.
    """
    if workload.device not in _DEVICES:
        raise unknown(f"device of {name}", workload.device, _DEVICES)
    check_vary(workload.vary)
    for field in ("epochs", "n_threads"):
        if getattr(workload, field) < 1:
            raise ExperimentError(f"{name}: {field} = {getattr(workload, field)} must be at least 1")
    check_score(workload.score, workload.epochs, workload.patience)


def training_settings(workload: Any) -> Settings:
    """Return what the workload decides about training."""
    from raysearch.training.loop import Settings

    return Settings(
        epochs=workload.epochs,
        patience=workload.patience,
        score=workload.score,
        n_threads=workload.n_threads,
        device=workload.device,
    )
