"""What measures of one instance share: few examples, an error for both kinds of tasks, perturbed weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysearch.training.losses import Loss
from raysearch.training.measures import EvaluatedModel

_BATCH = 2048


@contextmanager
def examined(subject: EvaluatedModel, n_examples: int) -> Iterator[tuple[nn.Module, Tensor, Tensor]]:
    """Yield the network in evaluation mode and the first `n_examples` inputs and targets; its mode is restored."""
    was_training = subject.module.training
    subject.module.eval()
    try:
        yield subject.module, subject.inputs[:n_examples], subject.targets[:n_examples]
    finally:
        subject.module.train(was_training)


def is_classification(targets: Tensor) -> bool:
    """Return whether targets are labels rather than numbers."""
    return not targets.is_floating_point()


@torch.no_grad()
def answers(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return the network's outputs, computed by parts."""
    return torch.cat([module(part) for part in torch.split(inputs, _BATCH)])


def error(outputs: Tensor, targets: Tensor, task: Loss) -> float:
    """Return the share of wrong labels, or in a regression the task loss; lower is better."""
    if is_classification(targets):
        return float((outputs.argmax(dim=1) != targets).float().mean())
    return float(task(outputs, targets))


def weights(module: nn.Module) -> dict[str, Tensor]:
    """Return the weights by layer, sharing memory with the network.

    Those are parameters named `weight` of at least two dimensions: no biases, no norms.
    """
    return {
        name: layer.weight.detach()
        for name, layer in module.named_modules()
        if isinstance(getattr(layer, "weight", None), nn.Parameter) and layer.weight.ndim >= 2
    }


@contextmanager
def replaced(tensors: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Iterator[None]:
    """Put `values` in the place of named weights for as long as it lasts."""
    before = {name: tensors[name].detach().clone() for name in values}
    with torch.no_grad():
        try:
            for name, value in values.items():
                tensors[name].copy_(value)
            yield
        finally:
            for name, value in before.items():
                tensors[name].copy_(value)


def told(subject: EvaluatedModel) -> NDArray[Any]:
    """Return what the network says of the subject's examples: probabilities `(n, n_classes)`, or numbers `(n,)`."""
    with examined(subject, len(subject.inputs)) as (module, inputs, targets):
        outputs = answers(module, inputs)
    return np.asarray(outputs.softmax(dim=1) if is_classification(targets) else outputs)
