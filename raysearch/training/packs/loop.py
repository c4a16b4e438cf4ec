"""The loop of a pack: trains its members together, epoch by epoch, until each has ended or been told to end."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from raysearch.training.averaging import Averaging
from raysearch.training.device import seeded
from raysearch.training.job import Common, Pair
from raysearch.training.loop import compares_examples, each_loss, is_over, mean_loss, outputs, training_loss
from raysearch.training.losses import Loss, Step
from raysearch.training.optimizer import rate_factor
from raysearch.training.packs.members import Member
from raysearch.training.packs.network import Network
from raysearch.training.packs.optimizer import Clip, Optimizer, State, from_alone, to_alone
from raysearch.training.packs.stack import CannotPack, Rows, Stack
from raysearch.training.packs.turns import drawing_from, random_state

Heard = Callable[[Member], bool]
"""Told of a member after each of its epochs; returns whether it goes on."""


class Pack:
    """Members that have trained the same number of epochs; neighbours of one recipe take their steps together."""

    def __init__(self, members: Sequence[Member], common: Common) -> None:
        self._common, self._settings = common, common.settings
        task = _of_members(common.task)
        if task is None:
            raise CannotPack(f"a task loss without of_members: {common.task}")
        self._task = task
        self._epoch = members[0].epoch
        self._template = copy.deepcopy(members[0].module)
        self._form(members)
        started = [member.started for member in members]
        if all(started):
            states = [
                from_alone(own["optimizer"], member.module, self._stack)
                for own, member in zip(started, members, strict=True)
            ]
            self._go_on(states, self._stacked([own["average"] for own in started]))
        else:
            self._go_on([], {})

    def run(self, heard: Heard) -> Iterator[Member]:
        """Train, and yield each member that has come to its own end, with its final weights.

        Those that `heard` ends leave in silence. Raises CannotPack where networks that passed their rehearsal begin to
        behave in a way that no pack allows.
        """
        while self._members:
            if new := self._epoch < self._settings.epochs:
                self._pass()
            told = [not new or heard(member) for member in self._members]
            leaving, staying = [], []
            for row, member in enumerate(self._members):
                if not told[row]:
                    continue
                over = is_over(member.trained, self._settings)
                if new and not over:
                    self._save(row, member)
                if over or self._epoch == self._settings.epochs:
                    self._settle(row, member)
                    leaving.append(member)
                else:
                    staying.append(row)
            self._narrow(staying)
            yield from leaving

    def _pass(self) -> None:
        """Train and score an epoch."""
        start = time.perf_counter()
        self._epoch += 1
        with seeded(0, self._settings.n_threads, self._stack.weights.device):
            before = random_state(self._stack.weights.device)
            self._teach()
            if not before.equal(random_state(self._stack.weights.device)):
                raise CannotPack("a network that draws random numbers by itself")
            self._network.check_buffers()
            self._judge()
        for member in self._members:
            member.seconds += (time.perf_counter() - start) / len(self._members)

    def _form(self, members: Sequence[Member]) -> None:
        self._members = tuple(members)
        self._stack = Stack([member.module for member in members])
        self._network = Network(self._stack, self._template, [member.drawn for member in members])
        self._clip = Clip(self._stack, [member.job.recipe.clip_norm for member in members])
        self._shadow = copy.deepcopy(self._template)
        self._losses = [
            (span, _of_members(training_loss(members[span.start].job.recipe)) or self._task)
            for span in _runs([member.job.recipe.loss_parameters for member in members])
        ]
        self._rows = torch.stack([self._common.rows(member.job) for member in members])
        self._soft = None if members[0].soft is None else torch.stack([m.soft for m in members if m.soft is not None])

    def _go_on(self, states: Sequence[State], average: dict[str, Tensor]) -> None:
        """Let optimizers and average begin at these states, anew where there are none."""
        recipe = self._members[0].job.recipe
        self._averaging = Averaging(self._stack.rows, recipe, self._settings.epochs)
        self._averaging.restore(average)
        self._optimizers = [
            Optimizer(self._stack, span, self._members[span.start].job.recipe, states[span])
            for span in _runs([member.group for member in self._members])
        ]

    def _teach(self) -> None:
        """Pass once over the training sets."""
        members, network = self._members, self._network
        self._each = self._each_loss()
        network.train()
        rates = [self._rate(optimizer.span.start, self._epoch) for optimizer in self._optimizers]
        orders = torch.stack([torch.randperm(self._rows.shape[1], generator=member.order) for member in members])
        orders = orders.to(self._rows.device)
        rows = self._rows.gather(1, orders)
        last: Pair | None = None
        losses, sizes, ones = [], [], torch.ones(len(members), device=rows.device)
        size = members[0].job.recipe.batch_size
        inputs, targets = self._common.sets.train
        for index, chosen in zip(torch.split(orders, size, 1), torch.split(rows, size, 1), strict=True):
            flat = chosen.flatten()
            batch, wanted = inputs.index_select(0, flat), targets.index_select(0, flat)
            wanted = wanted.view(*chosen.shape, *targets.shape[1:])
            network.forget_gradients()
            predicted = network(batch)
            predicted = predicted.reshape(*chosen.shape, *predicted.shape[1:])
            found = self._loss(predicted, wanted, batch, index, last)
            torch.autograd.backward(found, ones)
            network.gather_gradients()
            self._clip()
            for optimizer, rate in zip(self._optimizers, rates, strict=True):
                optimizer.step(rate)
            self._averaging.after_step()
            last = batch, wanted
            plain = self._losses[0][1] is self._task
            losses.append(found.detach() if plain else self._task(predicted.detach(), wanted))
            sizes.append(index.shape[1])
        for member, own in zip(members, torch.stack(losses, 1).cpu(), strict=True):
            member.trained.train_curve.append(mean_loss(own, sizes))

    def _each_loss(self) -> Tensor | None:
        """Return the task losses of all members' training examples `(n_members, n_train)`, where the loss asks."""
        first = self._members[0]
        if not (first.trained.train_curve and compares_examples(training_loss(first.job.recipe))):
            return None
        inputs, targets = self._common.sets.train
        found = []
        for member, rows in zip(self._members, self._rows, strict=True):
            found.append(each_loss(member.module, (inputs[rows], targets[rows]), self._common.task))
        return torch.stack(found)

    def _loss(self, predicted: Tensor, wanted: Tensor, batch: Tensor, index: Tensor, last: Pair | None) -> Tensor:
        """Return the losses of a batch `(n_members,)`, neighbours of one loss together."""
        found = []
        for span, loss in self._losses:
            found.append(loss(predicted[span], wanted[span], self._step(span, loss, batch, index, last)))
        return found[0] if len(found) == 1 else torch.cat(found)

    def _step(self, span: slice, loss: Loss, batch: Tensor, index: Tensor, last: Pair | None) -> Step | None:
        """Return what a training loss must know of the members in `span`; a task loss asks nothing."""
        if loss is self._task:
            return None
        curves = [member.trained.train_curve for member in self._members[span]]
        previous = torch.tensor([curve[-1] for curve in curves], device=batch.device) if curves[0] else None

        def of_span(values: Tensor) -> Tensor:
            n = len(values) // len(self._members)
            return values[span.start * n : span.stop * n]

        return Step(
            lambda inputs: self._network(inputs, span),
            of_span(batch),
            index[span],
            self._task,
            [member.noise for member in self._members[span]],
            previous,
            None if self._soft is None else self._soft[span],
            None if last is None else (of_span(last[0]), last[1][span]),
            None if self._each is None else self._each[span],
        )

    def _rate(self, row: int, epoch: int) -> float:
        """Return a member's learning rate in an epoch, from 1."""
        recipe = self._members[row].job.recipe
        return recipe.lr * rate_factor(recipe, self._settings.epochs)(epoch - 1)

    def _judge(self) -> None:
        """Score all members: together where all that is scored are their weights as they are, else in turns."""
        inputs, targets = self._common.sets.validation
        scored = self._averaging.after_epoch(self._epoch)
        score = self._common.judge
        if scored is self._stack.rows and self._network.is_batched:
            told = self._network.outputs(inputs)
            losses = self._scores(score, told, targets)
            for member, own, loss in zip(self._members, told, losses, strict=True):
                member.trained.judge(loss, member.module, own)
            return
        for row, member in enumerate(self._members):
            module = member.module
            if isinstance(scored, Rows) and scored is not self._stack.rows:
                module = self._stack.look(self._shadow, row, scored)
            own = outputs(module, inputs)
            member.trained.judge(float(score(own, targets)), module, own)

    @torch.no_grad()
    def _scores(self, score: Loss, told: Tensor, targets: Tensor) -> list[float]:
        """Return the members' scores: of all at once where the score can, and it is the number of a lone one."""
        at_once = _of_members(score)
        if at_once is None:
            return [float(score(own, targets)) for own in told]
        found: list[float] = at_once(told, targets.expand(len(told), *targets.shape)).tolist()
        return found

    def _settle(self, row: int, member: Member) -> None:
        """Give a member that has ended its final weights, and let it leave."""
        average = self._average()
        if average is not None:
            own = {**dict(member.module.named_parameters()), **dict(member.module.named_buffers())}
            for name, values in self._stack.named(row, average).items():
                own[name].data.copy_(values)
        member.trained.settle()
        member.leave()

    def _narrow(self, rows: list[int]) -> None:
        """Go on with the members in these rows only."""
        if len(rows) == len(self._members):
            return
        members = [self._members[row] for row in rows]
        if not members:
            self._members = ()
            return
        states = [optimizer.state(row) for optimizer in self._optimizers for row in range(*optimizer.ends)]
        average = self._averaging.state()
        average = {name: values if values.ndim == 0 else values[rows] for name, values in average.items()}
        self._form(members)
        self._go_on([states[row] for row in rows], average)

    def _average(self) -> Rows | None:
        """Return the average so far, None where it has not begun."""
        state = self._averaging.state()
        if not state:
            return None
        kinds = self._stack.buffer_places
        return Rows(state["module.weights"], {kind: state[f"module.{kind}"] for kind in kinds})

    def _stacked(self, states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the average of the pack from those of its members."""
        if not states[0]:
            return {}
        rows = copy.deepcopy(self._stack.rows)
        for row, state in enumerate(states):
            for name, values in self._stack.named(row, rows).items():
                if f"module.{name}" in state:
                    values.copy_(state[f"module.{name}"])
        return {"n_averaged": states[0]["n_averaged"]} | {f"module.{n}": v for n, v in rows.state_dict().items()}

    def _save(self, row: int, member: Member) -> None:
        """Write a member's checkpoint, that of a lone training, if it keeps one and the time has come."""
        if member.kept is None or not member.kept.is_due:
            return
        loop = member.alone(self._settings.epochs)
        optimizer = next(one for one in self._optimizers if row in range(*one.ends))
        to_alone(optimizer.state(row), loop.optimizer, member.module, self._stack)
        next_rate, average = self._rate(row, self._epoch + 1), self._average()
        loop.optimizer.param_groups[0].update(lr=next_rate, initial_lr=member.job.recipe.lr)
        if average is not None:
            kept = set(member.module.state_dict())
            own = {f"module.{n}": v for n, v in self._stack.named(row, average).items() if n in kept}
            loop.averaging.restore({"n_averaged": self._averaging.state()["n_averaged"], **own})
        with drawing_from(member.drawn):
            member.kept.save(loop)


def _of_members(loss: Loss | None) -> Loss | None:
    """Return the loss as a pack takes it, None where it cannot."""
    return getattr(loss, "of_members", None)


def _runs(keys: Sequence[Any]) -> list[slice]:
    """Return the stretches of equal neighbours."""
    found, start = [], 0
    for _, run in itertools.groupby(keys):
        end = start + len(list(run))
        found.append(slice(start, end))
        start = end
    return found
