"""How sharp the minimum is: the top eigenvalue of the loss's Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import Tensor

from raysearch.registry import Validated
from raysearch.training.measures import EvaluatedModel, MeasureResult
from raysearch.training.measures._subjects import examined

Array = NDArray[Any]
_N_VECTORS = 8
"""So many vectors of all weights are kept at a time."""


@dataclass(frozen=True)
class Curvature(Validated):
    """Numbers `top_eigenvalue` of the Hessian of the task loss over the weights, and `n_iterations` used.

    Args:
        n_examples: at most so many examples.
        n_iterations: about so many Hessian-vector products at most, at least 1.
        tolerance: relative accuracy of the eigenvalue, at least 0; 0 is that of the numbers.
        seed: of the first vector.

    Raises ValueError where the iteration does not converge, or the Hessian is not finite.
    Source: loss curvature as in arXiv 2110.04369, by SciPy's Lanczos iteration (ARPACK) on Hessian-vector products of
    torch.func. The task loss, not the training loss, is differentiated: this project's choice.
    """

    n_examples: Annotated[int, Ge(1)] = 256
    n_iterations: Annotated[int, Ge(1)] = 100
    tolerance: Annotated[float, Ge(0)] = 1e-3
    seed: int = 0

    over: ClassVar[str] = "instance"
    main: ClassVar[str] = "top_eigenvalue"

    def __call__(self, subject: EvaluatedModel) -> MeasureResult:
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
            first = torch.randn(flat.shape, generator=generator, dtype=flat.dtype).numpy()
            return self._greatest(lambda v: pull(torch.as_tensor(v).to(flat))[0].cpu().numpy(), first)

    def _greatest(self, apply: Callable[[Array], Array], first: Array) -> MeasureResult:
        n_products = 0

        def product(vector: Array) -> Array:
            nonlocal n_products
            n_products += 1
            return apply(vector.ravel())

        start, n_weights = product(first), len(first)
        if not np.isfinite(start).all():
            raise ValueError("the Hessian of the task loss is not finite")
        if n_weights == 1 or not start.any():  # ARPACK asks for two weights, and for a loss that is not flat
            value = float(start[0] / first[0])
        else:
            hessian = LinearOperator((n_weights, n_weights), matvec=product, dtype=first.dtype)
            n_vectors = min(_N_VECTORS, n_weights)
            limits = {"tol": self.tolerance, "maxiter": max(self.n_iterations // n_vectors, 1), "ncv": n_vectors}
            try:
                value = float(eigsh(hessian, k=1, which="LA", v0=start, return_eigenvectors=False, **limits)[0])
            except ArpackError as error:
                raise ValueError(
                    f"the top eigenvalue has not converged after {n_products} Hessian-vector products "
                    f"(n_iterations = {self.n_iterations}, tolerance = {self.tolerance}): raise one of the two"
                ) from error
        return MeasureResult({"top_eigenvalue": value, "n_iterations": float(n_products)})
