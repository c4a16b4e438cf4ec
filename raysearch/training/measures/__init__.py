"""Measures: what trained instances tell beside the loss (torch). Reported, or a criterion's values: `of: NAME`.

Contract: a frozen dataclass; `over` is `instance`: `__call__(subject) -> Found` (and maybe `summarize(founds) ->
Found`), or `instances`: `__call__(outputs, targets) -> Found`, probabilities `(n_instances, n_examples, n_classes)` or
numbers `(n_instances, n_examples)`. Lower is better in the number `main`. Networks and generators stay as they were.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class MeasureResult:
    """What a measure found: `numbers` by name; `arrays` by name, by example or layer; `tables` as lists of rows."""

    numbers: Mapping[str, float]
    arrays: Mapping[str, Any] = field(default_factory=dict)
    tables: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(frozen=True)
class EvaluatedModel:
    """One trained network, examples to judge it by, those it was `taught`, and its task loss (a Loss)."""

    module: nn.Module
    inputs: Tensor
    targets: Tensor
    task: Any
    taught: tuple[Tensor, Tensor] | None = None
