"""What the torch workloads share: the sets of an instance, and its network ready to be measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import safetensors.torch
import torch
from numpy.typing import NDArray

from raysearch import registry
from raysearch.training.job import Pair, Sets
from raysearch.training.measures import EvaluatedModel


def sets(data: Mapping[str, NDArray[Any]], inputs: str, targets: str, rows: NDArray[Any] | slice) -> Sets:
    """Return the sets that `data` holds as `{pool,validation,test}_{inputs,targets}`; `rows` of the pool are taught."""

    def pair(name: str, chosen: Any = slice(None)) -> Pair:
        return torch.tensor(data[f"{name}_{inputs}"][chosen]), torch.tensor(data[f"{name}_{targets}"][chosen])

    return Sets(pair("pool", rows), pair("validation"), pair("test"))


def subject(network: torch.nn.Module, weights: bytes, own: Sets, task: str, examples: str) -> EvaluatedModel:
    """Return `network` with these `weights`, to be judged by its `validation` or `test` examples; on the CPU.

    Inputs of whole numbers become floats, so that they can be moved a little.
    """
    network.load_state_dict(safetensors.torch.load(weights))
    inputs, targets = own.test if examples == "test" and own.test is not None else own.validation
    taught = _floats(own.train[0]), own.train[1]
    return EvaluatedModel(network.eval(), _floats(inputs), targets, registry.load("losses", task), taught)


def _floats(inputs: torch.Tensor) -> torch.Tensor:
    return inputs if inputs.is_floating_point() else inputs.float()
