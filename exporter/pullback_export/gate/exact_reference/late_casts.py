"""Casts of weights, one for each operator that uses them and no sooner than it is due: never are all there at once.

TensorFlow runs whatever has its inputs, which the cast of a variable has from the start, and keeps the result until the
last use, which is at the end of the backward pass.
"""

from __future__ import annotations

import collections
from collections.abc import Collection, Sequence
from typing import Any

from tensorflow.core.framework import node_def_pb2


def late_casts(nodes: Sequence[Any], casts: Collection[str], taken: set[str], kept: Collection[str]) -> list[Any]:
    """The ``nodes`` of a function with ``casts``, nodes by name, made again for each node that reads one.

    A copy waits for the other inputs of its reader. ``kept`` are the tensors that the function returns. The new names
    are added to those ``taken``.
    """
    known = {node.name: node for node in nodes if node.name in casts}
    returned = {_node_of(tensor) for tensor in kept}
    readers: collections.Counter[str] = collections.Counter()
    copies: list[Any] = []
    for node in nodes:
        # Not by the difference of sets, which would walk through all that is known for every node.
        others = sorted({name for name in map(_node_of, node.input) if name not in known})
        for index, item in enumerate(node.input):
            cast = known.get(_node_of(item))
            if cast is None or item.startswith("^"):
                readers[_node_of(item)] += 1
                continue
            copy = node_def_pb2.NodeDef()
            copy.CopyFrom(cast)
            copy.name = _free(f"{cast.name}/of_{len(copies)}", taken)
            copy.input.extend(f"^{name}" for name in others)
            node.input[index] = f"{copy.name}:y:0"
            copies.append(copy)
    left = [node for node in nodes if node.name not in known or node.name in returned or readers[node.name]]
    return left + copies


def _node_of(reference: str) -> str:
    """The node, or the argument, of a tensor or of a control input."""
    return reference.lstrip("^").split(":", 1)[0]


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
