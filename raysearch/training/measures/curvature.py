"""How sharp the minimum is: the top eigenvalue of the loss's Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor

from raysearch.registry import Validated
from raysearch.training.measures import Found, Subject
from raysearch.training.measures._subjects import examined

_Apply = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Curvature(Validated):
    """Numbers `top_eigenvalue` of the Hessian of the task loss over the weights, and `n_iterations` used.

    Args:
        n_examples: at most so many examples.
        n_iterations: at most so many Hessian-vector products, at least 1.
        tolerance: relative change of the eigenvalue that ends the iteration.
        seed: of the first vector.

    Source: loss curvature by power iteration, as in arXiv 2110.04369; Hessian-vector products by torch.func. The task
    loss, not the training loss, is differentiated: this project's choice.
    """

    n_examples: Annotated[int, Ge(1)] = 256
    n_iterations: Annotated[int, Ge(1)] = 100
    tolerance: float = 1e-3
    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "top_eigenvalue"

    def __call__(self, subject: Subject) -> Found:
        """Return the eigenvalue that is greatest, not the one greatest in magnitude."""
        with examined(subject, self.n_examples) as (module, inputs, targets):
            parameters = {name: value.detach() for name, value in module.named_parameters()}
            shapes = [value.shape for value in parameters.values()]

            def loss(flat: Tensor) -> Tensor:
                parts = torch.split(flat, [shape.numel() for shape in shapes])
                own = {name: part.view(shape) for name, part, shape in zip(parameters, parts, shapes, strict=True)}
                value: Tensor = subject.task(torch.func.functional_call(module, own, (inputs,)), targets)
                return value

            flat = torch.cat([value.reshape(-1) for value in parameters.values()])
            # reverse over reverse: every layer has it, and the graph of the gradient is built once
            pull = torch.func.vjp(torch.func.grad(loss), flat)[1]
            generator = torch.Generator().manual_seed(self.seed)
            first = torch.randn(flat.shape, generator=generator, dtype=flat.dtype).to(flat.device)
            value, n_products = self._largest(lambda v: pull(v)[0], first)
            if value < 0:  # the magnitude belongs to a negative one: shift the spectrum above zero and look again
                shift = -value
                value, more = self._largest(lambda v: pull(v)[0] + shift * v, first)
                value, n_products = value - shift, n_products + more
        return Found({"top_eigenvalue": value, "n_iterations": float(n_products)})

    def _largest(self, apply: _Apply, vector: Tensor) -> tuple[float, int]:
        """Return the eigenvalue of greatest magnitude and the number of products it took."""
        value = 0.0
        vector = vector / vector.norm()
        for n in range(1, self.n_iterations + 1):
            product = apply(vector)
            before, value = value, float(vector @ product)
            length = float(product.norm())
            if length == 0.0 or (n > 1 and abs(value - before) <= self.tolerance * abs(value)):
                return value, n
            vector = product / length
        return value, self.n_iterations
