"""An ability that a workload may have: instances of one architecture train together in one process, as a pack."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from raysearch.records import Configuration, InstanceResult, PackGain

if TYPE_CHECKING:  # torch takes seconds to import
    from raysearch.training.job import Common, Job
    from raysearch.training.recipe import Recipe


class PackReport(Protocol):
    """What `train_pack` tells: `report(member, epoch, loss)`, epoch from 1; False ends that member, raising ends all.

    It may have the attribute `checkpoints`, as the report of a lone instance may.
    """

    def __call__(self, member: int, epoch: int, loss: float) -> bool | None:
        """Take in a member's loss after an epoch, and return False to end it there."""


@runtime_checkable
class TrainsPacks(Protocol):
    """A workload that trains several instances at once, to the same results as one by one."""

    def pack_key(self, parameters: Mapping[str, Any]) -> Hashable | None:
        """Return a key: configurations of equal keys can train together, None means that each instance trains alone."""

    def train_pack(
        self, members: Sequence[tuple[Configuration, int]], report: PackReport, data: Any
    ) -> Iterator[tuple[int, InstanceResult]]:
        """Train instances (configuration, seed) of one key; yield each one's number and result when it has ended.

        A member that `report` has ended leaves at the next epoch, without a result.
        """
        ...


@runtime_checkable
class MeasuresPacks(TrainsPacks, Protocol):
    """One that can tell whether a pack pays; without it `pack: auto` trains each instance alone."""

    def measure_pack(self, configuration: Configuration, data: Any) -> PackGain:
        """Return how many instances of a configuration's architecture are worth a pack, on this machine."""
        ...


def key(workload: Any, network: object, recipe: Recipe) -> Hashable | None:
    """Return the pack key of a torch workload's configuration; `network` is what its architecture is, dropout aside.

    None with more than one thread of torch: kernels that share their work out sum in another order.
    """
    own = recipe.pack_key
    return None if own is None or workload.n_threads > 1 else (repr(network), own)


def common(
    workload: Any,
    data: Mapping[str, Any],
    inputs: str,
    targets: str,
    task: str,
    rows: NDArray[Any] | slice = slice(None),
    **more: Any,
) -> Common:
    """Return what instances share: `rows` of the sets `{pool,validation,test}_{inputs,targets}`, and the settings."""
    from raysearch import registry
    from raysearch.training.job import Common
    from raysearch.workloads._instruments import sets
    from raysearch.workloads._settings import training_settings

    return Common(sets(data, inputs, targets, rows), registry.load("losses", task), training_settings(workload), **more)


def job(workload: Any, configuration: Configuration, seed: int, build: Any, weights_seed: int, rows: Any = None) -> Job:
    """Return one instance: `rows` of the pool are taught, all of them unless given; `build()` makes its network."""
    import torch

    from raysearch.records import InstanceKey
    from raysearch.training.job import Job
    from raysearch.training.recipe import Recipe

    recipe, shaped_by = Recipe.of(configuration.parameters), (workload, configuration.parameters)
    taught = None if rows is None else torch.as_tensor(rows)
    return Job(InstanceKey(configuration.id, seed), build, recipe, weights_seed, shaped_by, taught)
