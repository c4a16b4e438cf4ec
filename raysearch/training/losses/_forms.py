"""What training losses share: the two kinds of tasks, and the step of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from raysearch.training.losses import Step


def is_classification(outputs: Tensor) -> bool:
    """Return whether `outputs` are class scores `(n, n_classes)` rather than numbers `(n,)`."""
    return outputs.ndim == 2


def state(step: Any, loss: str) -> Step:
    """Return `step`; raises ValueError where a training loss is asked to score without one."""
    if step is None:
        raise ValueError(f"{loss} is a training loss: it needs the step of a training, and never scores examples")
    return step  # type: ignore[no-any-return]
