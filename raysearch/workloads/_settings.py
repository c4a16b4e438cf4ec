"""The settings that every torch workload has, handed to the training loop in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raysearch.training.job import Settings


def training_settings(workload: Any) -> Settings:
    """Return what the workload decides about training."""
    from raysearch.training.job import Settings

    return Settings(
        epochs=workload.epochs,
        patience=workload.patience,
        score=workload.score,
        n_threads=workload.n_threads,
        device=workload.device,
    )
