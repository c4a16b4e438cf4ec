"""How much worse a network is on examples it has not seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._subjects import answers, error, examined, is_classification


@dataclass(frozen=True)
class GeneralizationGap(Validated):
    """Numbers `gap` (task loss on unseen less that on taught examples), `loss`, `taught_loss`, `permuted_loss`.

    `permuted_loss` is the task loss on unseen examples whose targets were shuffled: what a network scores that knows
    nothing of the pairing. For classifiers also `error_gap`.

    Args:
        seed: of the permutation.

    Source: train-test gap and permuted labels are those of rethinking generalisation, arXiv 1611.03530; shuffling at
    scoring time, without a new training, is this project's cheap form.
    """

    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "gap"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the gap; raises ValueError where the subject does not say what it was taught."""
        if subject.taught is None:
            raise ValueError("generalization_gap needs the examples that the instance was taught")
        task = subject.task
        with examined(subject, len(subject.inputs)) as (module, inputs, targets):
            seen, unseen = answers(module, subject.taught[0]), answers(module, inputs)
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(self.seed)).to(targets.device)
        loss, taught_loss = float(task(unseen, targets)), float(task(seen, subject.taught[1]))
        numbers = {"gap": loss - taught_loss, "loss": loss, "taught_loss": taught_loss}
        numbers["permuted_loss"] = float(task(unseen, targets[order]))
        if is_classification(targets):
            numbers["error_gap"] = error(unseen, targets, task) - error(seen, subject.taught[1], task)
        return MeasureResult(numbers)
