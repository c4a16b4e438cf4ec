"""What training losses share: the two kinds of tasks, and the step of a training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from raysearch.training.losses import Step


def is_classification(outputs: Tensor, targets: Tensor) -> bool:
    """Return whether `outputs` are class scores `(..., n, n_classes)` rather than numbers `(..., n)`."""
    return outputs.ndim > targets.ndim


def state(step: Any, loss: str) -> Step:
    """Return `step`; raises ValueError where a training loss is asked to score without one."""
    if step is None:
        raise ValueError(f"{loss} is a training loss: it needs the step of a training, and never scores examples")
    return step  # type: ignore[no-any-return]


def soft_cross_entropy(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Return `-mean_i sum_c q_ic log p_ic`; `wanted` are probabilities q `(..., n, n_classes)`."""
    return -(wanted * outputs.log_softmax(dim=-1)).sum(dim=-1).mean(-1)


def smoothed(targets: Tensor, n_classes: int, epsilon: float) -> Tensor:
    """Return `(1 - epsilon) one-hot + epsilon / n_classes`, `(..., n, n_classes)`, of labels `(..., n)`."""
    import torch

    hard = torch.nn.functional.one_hot(targets, n_classes).to(torch.get_default_dtype())
    return hard * (1.0 - epsilon) + epsilon / n_classes
