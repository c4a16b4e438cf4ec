"""How much the loss rises when every weight is a little wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._subjects import answers, examined, replaced


@dataclass(frozen=True)
class NoiseResilience(Validated):
    """Numbers `rise`: mean of `(L(w (1 + sigma z)) - L(w)) / L(w)` over draws of normal z; `rise_over_draws`, its std
    from draw to draw; `loss` L(w).

    Args:
        sigma: relative size of the noise, above 0.
        n_draws: at least 1.
        n_examples: at most so many examples.
        seed: of the draws.

    Source: resilience to weight noise, arXiv 2012.08854; this form is this project's. L is the task loss.
    """

    sigma: Annotated[float, Gt(0)] = 0.1
    n_draws: Annotated[int, Ge(1)] = 10
    n_examples: Annotated[int, Ge(1)] = 512
    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "rise"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the rise of the loss."""
        generator = torch.Generator().manual_seed(self.seed)
        with examined(subject, self.n_examples) as (module, inputs, targets):
            parameters = dict(module.named_parameters())
            plain = float(subject.task(answers(module, inputs), targets))
            rises = []
            for _ in range(self.n_draws):
                noisy = {
                    name: value.detach()
                    * (1.0 + self.sigma * torch.randn(value.shape, generator=generator).to(value.device))
                    for name, value in parameters.items()
                }
                with replaced(parameters, noisy):
                    loss = float(subject.task(answers(module, inputs), targets))
                rises.append((loss - plain) / max(plain, 1e-12))
        return MeasureResult({"rise": float(np.mean(rises)), "rise_over_draws": float(np.std(rises)), "loss": plain})
