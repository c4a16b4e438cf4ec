"""What training losses share: the two kinds of tasks, the step of a training, and terms that several have."""

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


def of_batch(values: Tensor, index: Tensor) -> Tensor:
    """Return what `values` `(..., n_train)` say of the examples of a batch, `index` `(..., n)`, member by member."""
    if index.ndim == 1:
        return values[index]
    members = index.new_tensor(range(len(index)))
    return values[members[:, None], index]


def of_examples(task: Any, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the task loss of each example, `(..., n)`, as if each were a member of a pack.

    Raises ValueError for a task loss that is only known of a batch.
    """
    import torch

    of_members = getattr(task, "of_members", task)
    with torch.enable_grad():  # without it a loss may ask for a call for each member
        each: Tensor = of_members(outputs.flatten(0, targets.ndim - 1)[:, None], targets.flatten()[:, None])
    if each.numel() != targets.numel():
        raise ValueError(f"{task} has no of_members: what it says of each example is not known")
    return each.view(targets.shape)


def variance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return how much like examples of a batch differ, `(...)`.

    Mean over the classes of `(1/n_c) sum ||p_i - mean_c p||^2`, p the softmax of `outputs` `(..., n, n_classes)`; with
    `outputs` `(..., n)` the variance of the residuals.
    """
    import torch

    if not is_classification(outputs, targets):
        return (outputs - targets).var(-1, correction=0)
    p = outputs.softmax(dim=-1).flatten(0, -2)
    n_classes = outputs.shape[-1]
    # a label of its own for each class of each member of a pack
    first = n_classes * torch.arange(targets.numel() // targets.shape[-1], device=targets.device)
    labels, of = torch.unique((targets.view(len(first), -1) + first[:, None]).flatten(), return_inverse=True)
    counts = torch.bincount(of, minlength=len(labels)).to(p.dtype)
    means = p.new_zeros(len(labels), n_classes).index_add(0, of, p) / counts[:, None]
    squares = (p - means[of]).square().sum(dim=1)
    n_labels = torch.bincount(labels // n_classes, minlength=len(first)).view(targets.shape[:-1])
    return (squares / counts[of]).view(targets.shape).sum(-1) / n_labels


def soft_cross_entropy(outputs: Tensor, wanted: Tensor) -> Tensor:
    """Return `-mean_i sum_c q_ic log p_ic`; `wanted` are probabilities q `(..., n, n_classes)`."""
    return -(wanted * outputs.log_softmax(dim=-1)).sum(dim=-1).mean(-1)


def smoothed(targets: Tensor, n_classes: int, epsilon: float) -> Tensor:
    """Return `(1 - epsilon) one-hot + epsilon / n_classes`, `(..., n, n_classes)`, of labels `(..., n)`."""
    import torch

    hard = torch.nn.functional.one_hot(targets, n_classes).to(torch.get_default_dtype())
    return hard * (1.0 - epsilon) + epsilon / n_classes
