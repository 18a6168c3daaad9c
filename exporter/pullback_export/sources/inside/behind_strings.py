"""Inputs of strings are refused, and the refusal names the layers behind which the same model can be exported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError
from pullback_export.sources.source import Source, no_taps
from pullback_export.sources.statefulness import ancestors

# Of these operators an input counts by its size alone, which a layer that takes its place has too. TensorFlow reads the
# size of an identity, as a mark is, from what stands before it.
_SIZES = ("Rank", "Shape", "ShapeN", "Size")


def refuse_strings(source: Source, given: bool = False) -> None:
    """Raises :class:`ExportError` where an input is of strings; ``given``: specs were given with ``inputs=``.

    Of a Keras model the message names the first layers behind the strings that return numbers, and the inputs beside.
    """
    texts = [spec.name for spec in source.inputs if spec.dtype == tf.string]
    if not texts:
        return
    text = texts[0]
    found = _first_numbers(source, texts)
    others = [spec.name for spec in source.inputs if spec.name not in texts]
    if found is None or not (found or others):
        raise ExportError(
            f"input {text!r} has dtype string; a bundle takes float32, float64, integer or bool: export what stands"
            " behind its lookup, from the numbers that the lookup returns"
        )
    names = ", ".join(repr(name) for name in [*found, *others])
    wanted = f"add to the specs in inputs=[...] the names [{names}]" if given else f"write inputs=[{names}]"
    if not found:
        raise ExportError(f"input {text!r} has dtype string, and no output depends on it, so drop it: {wanted}")
    raise ExportError(
        f"input {text!r} has dtype string; a bundle takes float32, float64, integer or bool: start behind the layers"
        f" that turn strings into numbers, {wanted}"
    )


def _first_numbers(source: Source, texts: Sequence[str]) -> list[str] | None:
    """Layers whose results cut every way from the inputs ``texts`` to an output; None where layers cannot."""
    inputs = {spec.name for spec in source.inputs}
    layers = [name for name in source.layers if name not in inputs and name not in source.outputs]
    if not layers or source.tapped is None:
        return None
    marked: dict[str, str] = {}

    def mark(name: str, result: Any) -> Any:
        passed = tf.identity(result)
        if passed.dtype.is_floating or passed.dtype.is_integer or passed.dtype.is_bool:
            marked[passed.op.name] = name
        return passed

    def call(*tensors: Any) -> tuple[Any, ...]:
        results: tuple[Any, ...] = ()
        try:
            with (source.tapped or no_taps)(layers, mark):
                results = source.call(*tensors)
        except ExportError:  # once there are results: a layer was not reached, such as the input of a nested model
            if not results:
                raise
        return results

    try:
        traced = tf.function(call, autograph=False).get_concrete_function(*source.inputs)
    except (ExportError, tf.errors.OpError, TypeError, ValueError):
        return None  # a layer that is called twice, or in a loop: no single name says where to start
    starts = [tensor.op for spec, tensor in zip(source.inputs, traced.inputs, strict=False) if spec.name in texts]
    return _cut(starts, traced.outputs, marked)


def _cut(starts: Sequence[Any], outputs: Sequence[Any], marked: dict[str, str]) -> list[str] | None:
    """The first marks on the ways from ``starts`` to ``outputs``; None where a way has none."""
    leading = {op.name for op in ancestors(outputs)}
    ends = {tensor.op.name for tensor in outputs}
    waiting = [op for op in starts if op.name in leading]
    seen: set[str] = set()
    found: list[str] = []
    while waiting:
        op = waiting.pop()
        if op.name in seen or op.type in _SIZES:
            continue
        seen.add(op.name)
        if op.name in marked:
            found.append(marked[op.name])
        elif op.name in ends:
            return None
        else:
            waiting += [user for tensor in op.outputs for user in tensor.consumers() if user.name in leading]
    return sorted(found)
