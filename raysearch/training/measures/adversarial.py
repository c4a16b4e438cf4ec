"""How a network stands up to examples made to fool it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt
from torch import Tensor, nn

from raysearch.registry import Validated
from raysearch.training.losses import Loss
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._attacks import box, fgsm, pgd
from raysearch.training.measures._subjects import answers, error, examined, is_classification


@dataclass(frozen=True)
class Adversarial(Validated):
    """Numbers `fgsm_error`, `pgd_error`, `clean_error` (share of wrong labels; in a regression the task loss), `eni`.

    Of a classifier also `nte`, in [0, 1]: over examples that PGD has fooled, the mean distance between the probability
    of the wrong label and the next one; absent where none was fooled. `eni` is the mean, over examples and random
    displacements within the box, of |change of the example's loss| over the displacement's greatest component.

    Args:
        epsilon: half width of the box, in standard deviations of the inputs; above 0.
        n_steps: of PGD, at least 1.
        n_draws: random displacements per example, at least 1.
        n_examples: at most so many examples.
        seed: of PGD's start and of the displacements.

    Source: NTE (noise tolerance estimation) and ENI (empirical noise insensitivity) are names of arXiv 2101.09617;
    their formulas as written here, the box in standard deviations and the regression form are this project's.
    """

    epsilon: Annotated[float, Gt(0)] = 0.25
    n_steps: Annotated[int, Ge(1)] = 10
    n_draws: Annotated[int, Ge(1)] = 5
    n_examples: Annotated[int, Ge(1)] = 256
    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "fgsm_error"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the numbers."""
        task, generator = subject.task, torch.Generator().manual_seed(self.seed)
        with examined(subject, self.n_examples) as (module, inputs, targets):
            width = box(inputs, self.epsilon)
            step = answers(module, fgsm(module, inputs, targets, task, width))
            start = _uniform(inputs, width, generator)
            end = answers(module, pgd(module, inputs, targets, task, width, self.n_steps, start))
            numbers = {
                "fgsm_error": error(step, targets, task),
                "pgd_error": error(end, targets, task),
                "clean_error": error(answers(module, inputs), targets, task),
            }
            moves = [_uniform(inputs, width, generator) for _ in range(self.n_draws)]
            numbers["eni"] = _sensitivity(module, inputs, targets, task, moves)
        if is_classification(targets):
            fooled = end[end.argmax(dim=1) != targets]
            if len(fooled):
                first, second = fooled.softmax(dim=1).topk(2, dim=1).values.unbind(dim=1)
                numbers["nte"] = float((first - second).mean())
        return MeasureResult(numbers)


def _uniform(inputs: Tensor, width: float, generator: torch.Generator) -> Tensor:
    draw = torch.rand(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
    return (2.0 * draw - 1.0) * width


def _sensitivity(module: nn.Module, inputs: Tensor, targets: Tensor, task: Loss, moves: list[Tensor]) -> float:
    each = torch.func.vmap(lambda output, target: task(output[None], target[None]))
    before = each(answers(module, inputs), targets)
    rates = [
        (each(answers(module, inputs + move), targets) - before).abs() / move.flatten(1).abs().amax(dim=1)
        for move in moves
    ]
    return float(torch.stack(rates).mean())
