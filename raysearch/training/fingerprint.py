"""The key of a training: one digest of everything that shapes it, by content, so that no setting can be forgotten."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

FORMAT = 2
"""Grows with every change of what the loop computes, or of what a checkpoint holds."""


def fingerprint(*parts: object) -> str:
    """Return 64 hexadecimal digits that differ where any of `parts` does, alike in every process.

    Dataclasses and plain objects count by class and *every* field, arrays and tensors by shape, type and bytes,
    mappings and sets whatever their order, functions and classes by name, all else by its `repr`. The versions of
    raysearch (with FORMAT) and torch count too: another one may round differently.
    """
    from raysearch import __version__

    digest = hashlib.sha256()
    for kind, content in _pieces((FORMAT, __version__, torch.__version__, parts)):
        digest.update(f"{kind} {len(content)} ".encode())  # with its length, so that no piece can run into the next
        digest.update(content)
    return digest.hexdigest()


def _pieces(value: Any) -> Iterator[tuple[str, bytes]]:
    """Yield what `value` is made of, as names of kinds and bytes."""
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        yield f"tensor {tuple(value.shape)} {value.dtype}", content.numpy().tobytes()
    elif isinstance(value, np.ndarray):
        yield f"array {value.shape} {value.dtype}", np.ascontiguousarray(value).tobytes()
    elif isinstance(value, Mapping):
        yield from _named("mapping", value)
    elif isinstance(value, list | tuple):
        yield f"{len(value)} values", b""
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, set | frozenset):
        yield from _pieces(sorted(map(repr, value)))
    elif isinstance(value, type) or hasattr(value, "__qualname__"):
        yield "name", f"{value.__module__}.{value.__qualname__}".encode()
    elif dataclasses.is_dataclass(value):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        yield from _named(_class(value), fields)
    elif _has_no_words(value):  # its repr is an address: another one in every process
        yield from _named(_class(value), vars(value))
    else:
        yield _class(value), repr(value).encode()


def _named(kind: str, values: Mapping[Any, Any]) -> Iterator[tuple[str, bytes]]:
    yield f"{kind} of {len(values)}", b""
    for name in sorted(values, key=repr):
        yield "key", repr(name).encode()
        yield from _pieces(values[name])


def _has_no_words(value: object) -> bool:
    words: object = type(value).__repr__
    return words is object.__repr__


def _class(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"
