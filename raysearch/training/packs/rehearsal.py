"""A rehearsal: whether networks answer in a pack as they do alone, before anything is trained."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from raysearch.training.job import Common
from raysearch.training.packs.members import Member
from raysearch.training.packs.network import Network
from raysearch.training.packs.stack import CannotPack, Stack
from raysearch.training.packs.turns import drawing_from, random_state

_TOLERANCE = 1e-3


def rehearse(members: Sequence[Member], common: Common) -> None:
    """Raise CannotPack unless copies of two members take their first step together as each of them does alone.

    A network cannot that mixes the examples of a batch, has weights that it does not use, changes numbers that the
    members have in common, or draws random ones where the pack does not know of it.
    """
    try:
        together, alone = _first_step([_copy(member) for member in (members[0], members[-1])], common)
    except CannotPack:
        raise
    except Exception as error:
        raise CannotPack(f"a network that fails in a pack: {error!r}") from error
    if not all(_alike(*pair) for pair in zip(together, alone, strict=True)):
        raise CannotPack("a network that answers otherwise in a pack")


def _first_step(two: Sequence[Member], common: Common) -> tuple[list[Tensor], list[Tensor]]:
    """Return outputs and gradients of two networks for a batch of each, together and alone."""
    of_members = getattr(common.task, "of_members", None)
    if of_members is None:
        raise CannotPack(f"a task loss without of_members: {common.task}")
    batches = [common.taught(member.job) for member in two]
    size = two[0].job.recipe.batch_size
    inputs, targets = ([values[:size] for values in pair] for pair in zip(*batches, strict=True))
    alone: list[Tensor] = []
    for member, own, wanted in zip(two, inputs, targets, strict=True):
        module = copy.deepcopy(member.module).train()
        with drawing_from(_same(member.drawn)):
            answers = module(own)
        torch.autograd.backward(common.task(answers, wanted))
        gradients = [value.grad.flatten() for value in module.parameters() if value.grad is not None]
        alone += [answers, torch.cat(gradients)]
    stack = Stack([member.module for member in two])
    network = Network(stack, two[0].module, [member.drawn for member in two])
    network.train()
    before = random_state(stack.weights.device)
    answers = torch.stack(network(torch.cat(inputs)).chunk(2))
    if not before.equal(random_state(stack.weights.device)):
        raise CannotPack("a network that draws random numbers by itself")
    torch.autograd.backward(of_members(answers, torch.stack(targets)).sum())
    rows = network.gather_gradients()
    network.check_buffers()
    together: list[Tensor] = []
    for row in range(2):
        parts = [place.of(rows, row).flatten() for place in stack.places.values()]
        together += [answers[row], torch.cat(parts)]
    return together, alone


def _copy(member: Member) -> Member:
    return dataclasses.replace(member, module=copy.deepcopy(member.module), drawn=_same(member.drawn))


def _same(generator: torch.Generator) -> torch.Generator:
    """Return another generator that draws what this one will."""
    made = torch.Generator(generator.device)
    made.set_state(generator.get_state())
    return made


def _alike(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    apart, size = (one - other).abs().nan_to_num(), other.abs().nan_to_num()
    return bool(apart.max() <= _TOLERANCE * size.max().clamp_min(1e-6))
