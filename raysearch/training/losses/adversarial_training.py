"""Training on examples that are moved so as to fool the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt, Interval

from raysearch.registry import Validated
from raysearch.training.losses._forms import state

if TYPE_CHECKING:
    from torch import Tensor

    from raysearch.training.losses import Step


@dataclass(frozen=True)
class AdversarialTraining(Validated):
    """`(1 - share) T(x) + share T(x')`, T the task loss, x' the batch after an attack on the network of now.

    The attack moves each value by at most `epsilon` standard deviations of the batch's values, within their range: by
    the sign of T's gradient (FGSM) or, in several steps from a random start, by projected gradient steps (PGD). Costs
    `n_steps` further passes a step.

    Args:
        epsilon: half width of the box around an example, in standard deviations of the batch's values; above 0.
        n_steps: of the attack; 1 is FGSM, more are PGD.
        share: of the loss on moved examples, in [0, 1].

    Source: arXiv 1412.6572 (FGSM, and the sum of both losses), arXiv 1706.06083 (PGD); the box in standard deviations,
    as in the measure `adversarial`, is this project's.
    """

    epsilon: Annotated[float, Gt(0)] = 0.25
    n_steps: Annotated[int, Ge(1)] = 1
    share: Annotated[float, Interval(ge=0, le=1)] = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
        """Return the loss, a scalar."""
        now = state(step, "adversarial_training")
        moved = self._moved(outputs, targets, now)
        fooled: Tensor = now.task(now.module(moved).view(outputs.shape), targets)
        return fooled if self.share == 1.0 else (1.0 - self.share) * now.task(outputs, targets) + self.share * fooled

    of_members = __call__  # its sums go over examples and classes, the last dimensions

    def _moved(self, outputs: Tensor, targets: Tensor, now: Step) -> Tensor:
        """Return the batch after the attack, in the shape of its inputs."""
        import torch

        inputs = now.inputs if now.inputs.is_floating_point() else now.inputs.float()
        own = inputs.view(targets[..., 0].numel(), -1)  # each member's batch in a row: its box and range are its own
        # in double, so that a sum's order does not matter
        width = (self.epsilon * own.double().std(1, correction=0)).to(own.dtype)[:, None]
        low, high = own.amin(1, keepdim=True), own.amax(1, keepdim=True)
        least, most = torch.maximum(own - width, low), torch.minimum(own + width, high)
        moved, length = own, width
        if self.n_steps > 1:
            length = 2.5 * width / self.n_steps
            moved = torch.minimum(torch.maximum(own + width * _uniform(own, now.generator), least), most)
        for _ in range(self.n_steps):
            watched = moved.view(inputs.shape).detach().requires_grad_(True)
            loss = now.task(now.module(watched).view(outputs.shape), targets).sum()
            (gradient,) = torch.autograd.grad(loss, watched)
            moved = torch.minimum(torch.maximum(moved + length * gradient.view(own.shape).sign(), least), most)
        return moved.view(inputs.shape)


def _uniform(own: Tensor, generator: Any) -> Tensor:
    """Return numbers in [-1, 1), each row's from its member's generator."""
    import torch

    generators = [generator] if isinstance(generator, torch.Generator) else generator
    drawn = [torch.rand(own.shape[1], generator=one, dtype=own.dtype) for one in generators]
    return 2.0 * torch.stack(drawn).to(own.device) - 1.0
