"""A rehearsal: whether networks answer in a pack as they do alone, before anything is trained."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from raysearch.training.packs.members import Common, Member
from raysearch.training.packs.network import Network, drawing_from, random_state
from raysearch.training.packs.stack import CannotPack, Stack

_TOLERANCE = 1e-3


def rehearse(members: Sequence[Member], common: Common) -> None:
    """Raise CannotPack unless copies of two members answer to a batch together as each of them does alone.

    A network that mixes the examples of a batch, or draws random numbers where the pack does not know of it, cannot.
    """
    try:
        together, alone = _answers([_copy(member) for member in (members[0], members[-1])], common)
    except Exception as error:
        raise CannotPack(f"a network that fails in a pack: {error!r}") from error
    if not _alike(together, alone):
        raise CannotPack("a network that answers otherwise in a pack")


@torch.no_grad()
def _answers(two: Sequence[Member], common: Common) -> tuple[Tensor, Tensor]:
    """Return what two networks answer to a batch of each, together and alone."""
    batches = [common.taught(member.job)[0][: member.job.recipe.batch_size] for member in two]
    alone = []
    for member, batch in zip(two, batches, strict=True):
        with drawing_from(_same(member.drawn)):
            alone.append(copy.deepcopy(member.module).train()(batch))
    network = Network(Stack([member.module for member in two]), two[0].module, [member.drawn for member in two])
    network.train()
    before = random_state(batches[0].device)
    together = network(torch.cat(batches))
    if not before.equal(random_state(batches[0].device)):
        raise CannotPack("a network that draws random numbers by itself")
    return together, torch.cat(alone)


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
