"""The one torch loop: trains a network by a recipe, scores it after each epoch, and can be stopped there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import safetensors.torch
import torch
from annotated_types import Ge
from numpy.typing import NDArray
from torch import Tensor, nn

from raysearch import registry
from raysearch.records import InstanceKey, InstanceResult
from raysearch.training import distillation
from raysearch.training import optimizer as training_optimizer
from raysearch.training.averaging import Averaging
from raysearch.training.checkpoints import Checkpoint, Loop
from raysearch.training.device import choose_device, seeded
from raysearch.training.freezing import freeze_fragile
from raysearch.training.losses import Loss, Step
from raysearch.training.measures.local_instability import epoch_instability
from raysearch.training.optimizer import rate_factor
from raysearch.training.recipe import Device, Recipe
from raysearch.training.score import BEST, SCORING_BATCH, Trained, check_score, n_scored

Pair = tuple[Tensor, Tensor]
Report = Callable[[int, float], None]
EPOCH_INSTABILITY = "epoch_instability"
"""The metric that holds it: mean label entropy in nats, or std in the target's unit."""


@dataclass(frozen=True)
class Sets:
    """Inputs and targets of one instance: `train` teaches, `validation` steers the race, `test` steers nothing."""

    train: Pair
    validation: Pair
    test: Pair | None = None

    def to(self, device: torch.device) -> Sets:
        """Return the same sets on a device."""

        def move(pair: Pair) -> Pair:
            return pair[0].to(device), pair[1].to(device)

        return Sets(move(self.train), move(self.validation), None if self.test is None else move(self.test))


@dataclass(frozen=True)
class Settings(registry.Validated):
    """What a workload, not a configuration, decides about training.

    Args:
        epochs: passes over the training set, at least 1.
        patience: stop after so many epochs without a better validation loss; None never stops early.
        score: what an instance's loss is: that of its `last` epoch; that of its `best`, the first of the lowest
            validation loss, which weights, test loss and metrics are then those of too; or `mean_last_5` (or another
            number), the mean over so many last epochs, of which the last gives weights, test loss and metrics.
            With patience it is always the best. A training that diverges counts as diverged whatever came before.
        n_threads: of torch, at least 1; one is best where instances share cores.
        device: `cpu`, `cuda`, or `auto` (a GPU where this process sees one).
    """

    epochs: Annotated[int, Ge(1)]
    patience: Annotated[int, Ge(1)] | None = None
    n_threads: Annotated[int, Ge(1)] = 1
    device: Device = "auto"
    score: str = "last"

    def __post_init__(self) -> None:
        """Refuse a score that these epochs cannot have."""
        super().__post_init__()
        check_score(self.score, self.epochs, self.patience)

    @property
    def n_scored(self) -> int:
        """Over how many last epochs the loss is a mean; training_score.BEST where it is the best epoch's."""
        return BEST if self.patience is not None else n_scored(self.score)


def fit(
    module: nn.Module,
    sets: Sets,
    task: Loss,
    recipe: Recipe,
    settings: Settings,
    seed: int,
    report: Report,
    score: Loss | None = None,
    soft: Tensor | None = None,
    kept: Checkpoint | None = None,
) -> Trained:
    """Train `module` in place, calling `report(epoch, validation loss)` after each epoch.

    `task` is minimised unless the recipe names another loss; `score` is what validation examples are judged by, the
    task loss unless given; `soft` is what a teacher said of the training examples.
    Ends at the last epoch, when patience is used up, or when a loss is no longer finite; where the best epoch is
    scored it returns to that. The order of the batches comes from `seed`.
    """
    loss, optimizer = training_loss(recipe) or task, training_optimizer.optimizer(module, recipe)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(recipe, settings.epochs))
    averaging = Averaging(module, recipe, settings.epochs)
    order = torch.Generator().manual_seed(seed)
    noise = torch.Generator().manual_seed(seed ^ 1)  # its own, so that no loss changes the order of the batches
    step = Step(module, sets.train[0][:0], torch.empty(0, dtype=torch.long), task, noise, soft=soft)
    trained = Trained(module, settings.n_scored)
    loop = Loop(module, optimizer, averaging, {"order": order, "noise": noise}, trained)
    scheduler.last_epoch = kept.restore(loop, report) if kept else 0
    for epoch in range(scheduler.last_epoch + 1, settings.epochs + 1):
        if epoch == recipe.freeze_from:
            freeze_fragile(module, *sets.train, task, recipe)
        step.previous = trained.train_curve[-1] if trained.train_curve else None
        trained.train_curve.append(_epoch(module, step, loss, sets.train, order, optimizer, averaging, recipe))
        scheduler.step()
        scored = averaging.after_epoch(epoch)
        told = outputs(scored, sets.validation[0])
        trained.judge(float((score or task)(told, sets.validation[1])), scored, told)
        report(epoch, trained.curve[-1])
        if is_over(trained, settings):
            break
        if kept:
            kept.save(loop)
    averaging.settle()
    trained.settle()
    return trained


def training_loss(recipe: Recipe) -> Loss | None:
    """Return the loss that the recipe names, None where the task loss is minimised."""
    return registry.load("losses", recipe.loss, **recipe.loss_parameters) if recipe.loss else None


def _epoch(
    module: nn.Module,
    step: Step,
    loss: Loss,
    train: Pair,
    order: torch.Generator,
    optimizer: torch.optim.Optimizer,
    averaging: Averaging,
    recipe: Recipe,
) -> float:
    """Pass once over the training set and return the mean task loss of its batches."""
    module.train()
    parameters, losses, sizes = list(module.parameters()), [], []
    for step.index, step.inputs, wanted in training_optimizer.batches(*train, order, recipe.batch_size):
        predicted = module(step.inputs)
        found = loss(predicted, wanted, step)
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.backward(found)
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        optimizer.step()
        averaging.after_step()
        losses.append(found.detach() if loss is step.task else step.task(predicted.detach(), wanted))
        sizes.append(len(wanted))
    return mean_loss(torch.stack(losses), sizes)


def mean_loss(losses: Tensor, sizes: list[int]) -> float:
    """Return the mean of the losses of batches `(n_batches,)` of these sizes."""
    weights = torch.tensor(sizes, dtype=torch.float64, device=losses.device) / sum(sizes)
    return float(losses.double() @ weights)


def is_over(trained: Trained, settings: Settings) -> bool:
    """Return whether a training ends after its last epoch so far: a loss is not finite, or patience is used up."""
    curve = trained.curve
    if not math.isfinite(curve[-1] + trained.train_curve[-1]):
        return True
    return settings.patience is not None and len(curve) - 1 - int(np.argmin(curve)) >= settings.patience


@torch.no_grad()
def outputs(module: nn.Module, inputs: Tensor) -> Tensor:
    """Return what the network answers to `inputs`, in evaluation mode."""
    module.eval()
    return torch.cat([module(part) for part in torch.split(inputs, SCORING_BATCH)])


def instance(
    key: InstanceKey,
    build: Callable[[], nn.Module],
    sets: Sets,
    task: Loss,
    recipe: Recipe,
    settings: Settings,
    seed: int,
    report: Report,
    *,
    shaped_by: object,
    score: Loss | None = None,
    measure: Callable[[Trained, Sets], Mapping[str, float]] | None = None,
) -> InstanceResult:
    """Build, train and score one network; `seed` gives initial weights, order of batches and dropout.

    `shaped_by` is what made these arguments, a workload and the parameters of a configuration: with them it tells
    whether a checkpoint is this training's. `score` judges validation and test examples, the task loss unless given;
    `measure(trained, sets)` adds metrics.
    """
    start = time.perf_counter()
    device = choose_device(settings.device)
    placed = sets.to(device)
    with seeded(seed, settings.n_threads, device):
        module = build().to(device)
        soft = _taught(build, placed, task, recipe, settings, seed)
        kept = Checkpoint.of(report, key, shaped_by, str(module), sets, task, score, recipe, settings, seed)
        trained = fit(module, placed, task, recipe, settings, seed, report, score, soft, kept)
        found = result(key, trained, placed, settings, score or task, measure, start)
        if kept:
            kept.drop()
    return found


def result(
    key: InstanceKey,
    trained: Trained,
    sets: Sets,
    settings: Settings,
    score: Loss,
    measure: Callable[[Trained, Sets], Mapping[str, float]] | None,
    since: float,
) -> InstanceResult:
    """Return what came of a training that began at `since`, a time.perf_counter, with its test loss and metrics."""
    test_loss = None
    if sets.test is not None and math.isfinite(trained.loss):
        test_loss = float(score(outputs(trained.module, sets.test[0]), sets.test[1]))
    metrics = {"train_loss": trained.train_curve[trained.epoch - 1], **_unrest(trained)}
    metrics |= {"best_epoch": float(trained.epoch)} if settings.n_scored == BEST else {}
    metrics |= measure(trained, sets) if measure else {}
    return InstanceResult.of(
        key,
        trained.loss,
        curve=tuple(trained.curve),
        test_loss=test_loss,
        seconds=time.perf_counter() - since,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        weights=to_bytes(trained.module),
    )


def _taught(
    build: Callable[[], nn.Module], sets: Sets, task: Loss, recipe: Recipe, settings: Settings, seed: int
) -> Tensor | None:
    """Return what a teacher says of the training examples, None where the training loss asks for none."""
    loss: Any = training_loss(recipe)
    if not hasattr(loss, "soften"):
        return None
    own = teacher_settings(loss, settings)

    def train(module: nn.Module, plain: Recipe, of_teacher: int, listen: Callable[[nn.Module], None]) -> None:
        fit(module, sets, task, plain, own, of_teacher, lambda epoch, loss: listen(module))

    return distillation.teach(build, train, recipe, sets.train[0], distillation.teacher_seed(loss, seed), loss.soften)


def teacher_settings(loss: Any, settings: Settings) -> Settings:
    """Return the settings of the teacher that a loss asks for."""
    return replace(settings, epochs=loss.teacher_epochs or settings.epochs, patience=None, score="last")


def error(outputs: Tensor, targets: Tensor, step: Any = None) -> Tensor:
    """Return the share of examples whose most likely class is wrong: a score, not something to minimise."""
    return (outputs.argmax(dim=1) != targets).float().mean()


def accuracies(trained: Trained, sets: Sets) -> dict[str, float]:
    """Return the share of examples classified rightly, in the validation set and, where there is one, the test set."""
    found = {"accuracy": 1.0 - float(error(trained.outputs, sets.validation[1]))}
    if sets.test is not None:
        found["test_accuracy"] = 1.0 - float(error(outputs(trained.module, sets.test[0]), sets.test[1]))
    return found


def _unrest(trained: Trained) -> dict[str, float]:
    """Return how much the answers still change over the last epochs: LE_s, or in a regression a spread."""
    answers = torch.stack(list(trained.recent)).cpu()
    if len(answers) < 2 or not bool(torch.isfinite(answers).all()):
        return {}
    return {EPOCH_INSTABILITY: epoch_instability(answers.numpy())}


def to_bytes(module: nn.Module) -> bytes:
    """Return the network's weights as a safetensors file."""
    # copies, as safetensors takes no two tensors at one place: layers may share their weights
    state = {name: value.cpu().contiguous().clone() for name, value in module.state_dict().items()}
    return bytes(safetensors.torch.save(state))


def answer(module: nn.Module, weights: bytes, inputs: NDArray[Any]) -> NDArray[Any]:
    """Return what `module` with these `weights` answers to `inputs`, as arrays."""
    module.load_state_dict(safetensors.torch.load(weights))
    return outputs(module, torch.tensor(inputs)).numpy()
