"""When two nodes compute the same, so that one of them suffices."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from pullback_export.graph.operators import RANDOM
from pullback_export.graph.values import Attribute, Attributes, Operands, Region


def key_of(op_type: str, operands: Operands, attributes: Attributes, outputs: int) -> Any:
    """What equal nodes have in common; None for those that are never shared: with bodies, and random ones."""
    if any(isinstance(item, Region) for item in attributes.values()) or op_type in RANDOM:
        return None
    frozen = tuple(sorted((name, _frozen(item)) for name, item in attributes.items()))
    return op_type, tuple(id(value) for value in operands), frozen, outputs


def _frozen(item: Attribute) -> Any:
    if isinstance(item, np.ndarray):
        return item.dtype.str, item.shape, digest(item)
    return tuple(item) if isinstance(item, list | tuple) else item


def digest(contents: np.ndarray[Any, Any]) -> bytes:
    """The bytes of a small array, and what stands for those of a large one: no weight is kept twice."""
    if contents.dtype == object:  # strings, of which the memory holds but addresses
        return repr(contents.tolist()).encode()
    if contents.nbytes <= 256:
        return contents.tobytes()
    return hashlib.blake2b(np.ascontiguousarray(contents).reshape(-1).view(np.uint8).data).digest()
