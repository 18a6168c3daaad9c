"""Which inputs have the batch axis: all, some of them beside others that the rows share, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError


def batched_inputs(inputs: Sequence[tf.TensorSpec], batched: Any) -> frozenset[str]:
    """The names of the inputs whose first axis is the batch; none where derivatives are those of whole tensors.

    ``batched`` is True for each input whose first axis is free, and the others are shared by all rows; False for none;
    names for these inputs alone, so that another one with a free first axis is shared too; None for all where the first
    axis of each is free, else for none.

    Raises :class:`ExportError` for a name that does not exist, and where there is no such axis.
    """
    free = [spec.name for spec in inputs if spec.shape.rank and spec.shape[0] is None]
    if batched is None:
        return frozenset(free) if len(free) == len(inputs) else frozenset()
    if isinstance(batched, bool):
        if batched and not free:
            raise ExportError(
                f"batched=True: none of the inputs {_listed(inputs)} has a batch axis, a free first one: give it one,"
                " tf.TensorSpec([None, ...]), or export with batched=False: derivatives are those of whole tensors then"
            )
        return frozenset(free if batched else ())
    names = [batched] if isinstance(batched, str) else batched
    if not isinstance(names, Sequence) or not names or not all(isinstance(name, str) for name in names):
        raise ExportError(f"batched={batched!r}: write True, False, None or the names of the inputs with a batch axis")
    known = [spec.name for spec in inputs]
    for name in names:
        if name not in known:
            raise ExportError(f"batched: there is no input {name!r}; inputs: {', '.join(known)}")
        if name not in free:
            raise ExportError(
                f"batched: input {name!r} has no batch axis, a free first one; the inputs are {_listed(inputs)}: give"
                " it one, tf.TensorSpec([None, ...]), or leave its name out: its value is then shared by all rows"
            )
    return frozenset(names)


def _listed(inputs: Sequence[tf.TensorSpec]) -> str:
    return ", ".join(f"{spec.name!r} of shape {spec.shape}" for spec in inputs)
