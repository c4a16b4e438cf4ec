"""The one torch loop: trains a network by a recipe, scores it after each epoch, and can be stopped there."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysearch import registry
from raysearch.records import InstanceResult
from raysearch.training import distillation
from raysearch.training import optimizer as training_optimizer
from raysearch.training.averaging import Averaging
from raysearch.training.checkpoints import Checkpoint, Loop
from raysearch.training.device import choose_device, seeded
from raysearch.training.freezing import freeze_fragile
from raysearch.training.job import Common, Job, Pair, Sets, Settings
from raysearch.training.losses import Loss, Step
from raysearch.training.losses._forms import of_examples
from raysearch.training.measures.local_instability import epoch_instability
from raysearch.training.optimizer import rate_factor
from raysearch.training.recipe import Recipe
from raysearch.training.score import BEST, SCORING_BATCH, Trained

Report = Callable[[int, float], None]
EPOCH_INSTABILITY = "epoch_instability"
"""The metric that holds it: mean label entropy in nats, or std in the target's unit."""


def fit(
    module: nn.Module,
    sets: Sets,
    job: Job,
    common: Common,
    report: Report,
    soft: Tensor | None = None,
    kept: Checkpoint | None = None,
) -> Trained:
    """Train `module` in place on a job's own `sets`, calling `report(epoch, validation loss)` after each epoch.

    `soft` is what a teacher said of the training examples.
    Ends at the last epoch, when patience is used up, or when a loss is no longer finite; where the best epoch is
    scored it returns to that. The order of the batches comes from the job's seed.
    """
    recipe, settings = job.recipe, common.settings
    loss, optimizer = training_loss(recipe) or common.task, training_optimizer.optimizer(module, recipe)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate_factor(recipe, settings.epochs))
    averaging = Averaging(module, recipe, settings.epochs)
    order = torch.Generator().manual_seed(job.seed)
    noise = torch.Generator().manual_seed(job.seed ^ 1)  # its own, so that no loss changes the order of the batches
    step = Step(module, sets.train[0][:0], torch.empty(0, dtype=torch.long), common.task, noise, soft=soft)
    trained = Trained(module, settings.n_scored)
    loop = Loop(module, optimizer, averaging, {"order": order, "noise": noise}, trained)
    scheduler.last_epoch = kept.restore(loop, report) if kept else 0
    for epoch in range(scheduler.last_epoch + 1, settings.epochs + 1):
        if epoch == recipe.freeze_from:
            freeze_fragile(module, *sets.train, common.task, recipe)
        step.previous = trained.train_curve[-1] if trained.train_curve else None
        compares = bool(trained.train_curve) and compares_examples(loss)
        step.each = each_loss(module, sets.train, common.task) if compares else None
        trained.train_curve.append(_epoch(loop, step, loss, sets.train, recipe))
        scheduler.step()
        scored = averaging.after_epoch(epoch)
        told = outputs(scored, sets.validation[0])
        trained.judge(float(common.judge(told, sets.validation[1])), scored, told)
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


def compares_examples(loss: Loss | None) -> bool:
    """Return whether a training loss asks for the task loss of each training example."""
    return bool(getattr(loss, "compares_examples", False))


def each_loss(module: nn.Module, train: Pair, task: Loss) -> Tensor:
    """Return the task loss of each training example, `(n_train,)`."""
    return of_examples(task, outputs(module, train[0]), train[1])


def _epoch(loop: Loop, step: Step, loss: Loss, train: Pair, recipe: Recipe) -> float:
    """Pass once over the training set and return the mean task loss of its batches."""
    loop.module.train()
    step.last_batch = None
    parameters, losses, sizes = list(loop.module.parameters()), [], []
    for step.index, step.inputs, wanted in training_optimizer.batches(
        *train, loop.generators["order"], recipe.batch_size
    ):
        predicted = loop.module(step.inputs)
        found = loss(predicted, wanted, step)
        for parameter in parameters:
            parameter.grad = None
        torch.autograd.backward(found)
        if recipe.clip_norm:
            nn.utils.clip_grad_norm_(parameters, recipe.clip_norm)
        loop.optimizer.step()
        loop.averaging.after_step()
        step.last_batch = step.inputs, wanted
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


def instance(job: Job, common: Common, report: Report) -> InstanceResult:
    """Build, train and score one network, calling `report(epoch, validation loss)` after each epoch."""
    start = time.perf_counter()
    device = choose_device(common.settings.device)
    sets = common.own(job)
    placed = sets.to(device)
    with seeded(job.seed, common.settings.n_threads, device):
        module = job.build().to(device)
        soft = _taught(job, common, placed)
        kept = kept_state(job, common, report, module, sets)
        trained = fit(module, placed, job, common, report, soft, kept)
        found = result(job, common, trained, placed, start)
        if kept:
            kept.drop()
    return found


def kept_state(
    job: Job, common: Common, report: Callable[..., object], module: nn.Module, sets: Sets
) -> Checkpoint | None:
    """Return the checkpoint of a job, None where the executor keeps none; all that shapes a training tells it apart."""
    shape = (job.shaped_by, str(module), sets, common.task, common.score, job.recipe, common.settings, job.seed)
    return Checkpoint.of(report, job.key, *shape)


def result(job: Job, common: Common, trained: Trained, sets: Sets, since: float) -> InstanceResult:
    """Return what came of a training that began at `since`, a time.perf_counter, with its test loss and metrics."""
    test_loss = None
    if sets.test is not None and math.isfinite(trained.loss):
        test_loss = float(common.judge(outputs(trained.module, sets.test[0]), sets.test[1]))
    metrics = {"train_loss": trained.train_curve[trained.epoch - 1], **_unrest(trained)}
    metrics |= {"best_epoch": float(trained.epoch)} if common.settings.n_scored == BEST else {}
    metrics |= common.measure(trained, sets) if common.measure else {}
    return InstanceResult.of(
        job.key,
        trained.loss,
        curve=tuple(trained.curve),
        test_loss=test_loss,
        seconds=time.perf_counter() - since,
        metrics={name: value for name, value in metrics.items() if math.isfinite(value)},
        weights=to_bytes(trained.module),
    )


def _taught(job: Job, common: Common, sets: Sets) -> Tensor | None:
    """Return what a teacher says of the training examples, None where the training loss asks for none."""
    loss: Any = training_loss(job.recipe)
    if not hasattr(loss, "soften"):
        return None
    by_task = Common(sets, common.task, teacher_settings(loss, common.settings))

    def train(module: nn.Module, plain: Recipe, of_teacher: int, listen: Callable[[nn.Module], None]) -> None:
        teacher = replace(job, recipe=plain, seed=of_teacher)
        fit(module, sets, teacher, by_task, lambda epoch, loss: listen(module))

    first, seed = distillation.first_heard(loss, by_task.settings.epochs), distillation.teacher_seed(loss, job.seed)
    return distillation.teach(job.build, train, job.recipe, sets.train[0], seed, loss.soften, first=first)


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
