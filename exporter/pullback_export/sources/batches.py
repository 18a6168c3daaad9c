"""Which inputs have a batch axis: all, some of them beside others that the rows share, or none; and which have two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError

# What ``batched={...}`` says of an input where functions meet points.
FUNCTIONS, POINTS, BOTH = "functions", "points", "both"


@dataclasses.dataclass(frozen=True)
class Batch:
    """The names of the inputs with rows, their first axis; and of those with points, the axis after that, or first."""

    rows: frozenset[str] = frozenset()
    points: frozenset[str] = frozenset()


def batch_of(inputs: Sequence[tf.TensorSpec], batched: Any, batch_axes: Any = 1) -> Batch:
    """Which inputs have which batch axis.

    With ``batch_axes=1``, ``batched`` is as for :func:`batched_inputs`. With 2, functions meet points: of an input with
    two free axes in front they are both, of one with a single free axis it counts the functions, where another input
    has both; ``batched={"u": "functions", "x": "points"}`` says it (``"both"`` too, and inputs that it leaves out are
    shared by all), and names, ``["u", "x"]``, which inputs have such axes at all.

    Raises :class:`ExportError` where that is not said, or cannot be.
    """
    if batch_axes == 1 and not isinstance(batched, Mapping):
        return Batch(batched_inputs(inputs, batched))
    if isinstance(batch_axes, bool) or batch_axes not in (1, 2):
        raise ExportError(
            f"batch_axes={batch_axes!r}: write 1, or 2 where functions meet points (docs/howto/points.md)"
        )
    if batch_axes == 1:
        raise ExportError(f"batched={dict(batched)!r} tells functions and points apart: write batch_axes=2 beside it")
    found = _said(inputs, batched) if isinstance(batched, Mapping) else _seen(inputs, batched)
    if not found.rows or not found.points:
        what = "functions" if not found.rows else "points"
        raise ExportError(
            f"batch_axes=2: none of the inputs {_listed(inputs)} has the axis of the {what}; {_remedy(inputs)}, or"
            " leave batch_axes= out: there is one batch axis then"
        )
    return found


def _said(inputs: Sequence[tf.TensorSpec], batched: Mapping[Any, Any]) -> Batch:
    """What ``{"u": "functions", "x": "points"}`` says; raises :class:`ExportError`."""
    specs = {spec.name: spec for spec in inputs}
    for name, word in batched.items():
        if name not in specs:
            raise ExportError(f"batched: there is no input {name!r}; inputs: {', '.join(specs)}")
        if word not in (FUNCTIONS, POINTS, BOTH):
            raise ExportError(
                f"batched[{name!r}]={word!r}: write {FUNCTIONS!r}, {POINTS!r} or {BOTH!r}; an input that all share is"
                " left out"
            )
        axes = 2 if word == BOTH else 1
        if _free_axes(specs[name]) < axes:
            which = "axis of its own, a free first one" if axes == 1 else "two batch axes, free ones in front"
            raise ExportError(
                f"batched[{name!r}]={word!r}: input {name!r} of shape {specs[name].shape} has no {which}: give it free"
                " sizes, tf.TensorSpec([None, ...]), or leave its name out: its value is then shared by all"
            )
    return Batch(
        frozenset(name for name, word in batched.items() if word != POINTS),
        frozenset(name for name, word in batched.items() if word != FUNCTIONS),
    )


def _seen(inputs: Sequence[tf.TensorSpec], batched: Any) -> Batch:
    """What the free axes in front say, of all inputs or of those named; raises :class:`ExportError`."""
    if batched is False:
        raise ExportError(
            "batched=False with batch_axes=2: derivatives are those of whole tensors, or for each function and point;"
            " leave one of them out"
        )
    rows = batched_inputs(inputs, True if batched is None else batched)
    both = frozenset(spec.name for spec in inputs if spec.name in rows and _free_axes(spec) > 1)
    if not both:
        raise ExportError(
            f"batch_axes=2: none of the inputs {_listed(inputs)} has two free axes in front, so which axis counts"
            f" functions, and which points? {_remedy(inputs)}"
        )
    return Batch(rows, both)


def _remedy(inputs: Sequence[tf.TensorSpec]) -> str:
    """What to write, for these inputs: the last of those with a free axis has the points in this example."""
    free = [spec for spec in inputs if _free_axes(spec)]
    if not free:
        return "give them free sizes, tf.TensorSpec([None, ...])"
    if len(free) == 1:
        words = {free[0].name: BOTH}
    else:
        words = {spec.name: FUNCTIONS for spec in free} | {free[-1].name: POINTS if _free_axes(free[-1]) == 1 else BOTH}
    return f"say it: batched={words}" + (
        f", where {free[0].name} is {_shape_of_both(free[0])}" if BOTH in words.values() and len(free) == 1 else ""
    )


def _shape_of_both(spec: tf.TensorSpec) -> str:
    sample = spec.shape.as_list()[1:]
    return f"tf.TensorSpec({[None, None, *sample]})"


def _free_axes(spec: tf.TensorSpec) -> int:
    """How many axes in front are free, 2 at most."""
    front = (spec.shape.as_list() if spec.shape.rank else [])[:2]
    return len(front) if all(size is None for size in front) else int(bool(front) and front[0] is None)


def batched_inputs(inputs: Sequence[tf.TensorSpec], batched: Any) -> frozenset[str]:
    """The names of the inputs whose first axis is the batch; none where derivatives are those of whole tensors.

    ``batched`` is True for each input whose first axis is free, and the others are shared by all rows; False for none;
    names for these inputs alone, so that another one with a free first axis is shared too; None for all where the first
    axis of each is free, else for none.

    Raises :class:`ExportError` for a name that does not exist, and where there is no such axis.
    """
    free = [spec.name for spec in inputs if _free_axes(spec)]
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
