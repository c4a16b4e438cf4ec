"""How a network does on noisy and on blurred inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt
from torch import Tensor
from torch.nn.functional import conv2d, pad

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._subjects import answers, error, examined


@dataclass(frozen=True)
class Corruption(Validated):
    """Numbers `mean_error` over the corruptions, `noise_error`, `blur_error`, `clean_error`.

    An error is the share of wrong labels; in a regression the task loss. Inputs without two last dimensions of at least
    3 cannot be blurred: then there is no `blur_error`.

    Args:
        noise: size of the normal noise, in standard deviations of the inputs; above 0.
        blur: width of the normal blur in pixels, above 0.
        n_examples: at most so many examples.
        seed: of the noise.

    Source: corruptions as in arXiv 2101.09617; sizes and the regression form are this project's.
    """

    noise: Annotated[float, Gt(0)] = 0.25
    blur: Annotated[float, Gt(0)] = 1.0
    n_examples: Annotated[int, Ge(1)] = 2000
    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "mean_error"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
        """Return the numbers."""
        generator = torch.Generator().manual_seed(self.seed)
        with examined(subject, self.n_examples) as (module, inputs, targets):
            draw = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype).to(inputs.device)
            corrupted = {"noise_error": inputs + self.noise * inputs.std(correction=0) * draw}
            if inputs.ndim >= 3 and min(inputs.shape[-2:]) >= 3:
                corrupted["blur_error"] = blurred(inputs, self.blur)
            errors = {name: error(answers(module, values), targets, subject.task) for name, values in corrupted.items()}
            clean = error(answers(module, inputs), targets, subject.task)
        return MeasureResult({"mean_error": float(np.mean(list(errors.values()))), **errors, "clean_error": clean})


def blurred(inputs: Tensor, width: float) -> Tensor:
    """Return `inputs` `(..., height, width)` smoothed by a normal kernel; pixels at the edge are repeated outside."""
    reach = max(1, min(round(3.0 * width), min(inputs.shape[-2:]) - 1))
    along = torch.arange(-reach, reach + 1, dtype=inputs.dtype, device=inputs.device)
    kernel = torch.exp(-0.5 * (along / width).square())
    kernel = kernel / kernel.sum()
    images = pad(inputs.reshape(-1, 1, *inputs.shape[-2:]), [reach] * 4, mode="replicate")
    images = conv2d(conv2d(images, kernel.view(1, 1, -1, 1)), kernel.view(1, 1, 1, -1))
    return images.view_as(inputs)
