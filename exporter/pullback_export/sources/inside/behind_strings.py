"""Where strings cannot be exported: the refusal names the layers behind which the same model can be."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterator, Sequence
from typing import Any

import tensorflow as tf

from pullback_export.errors import ExportError, UnsupportedOpsError
from pullback_export.lowering.texts import REFUSAL
from pullback_export.sources.source import Source, no_taps
from pullback_export.sources.statefulness import ancestors

# Layers that are tried one by one at most.
MOST_ALONE = 64
# Of these operators an input counts by its size alone, which a layer that takes its place has too. TensorFlow reads the
# size of an identity, as a mark is, from what stands before it.
_SIZES = ("Rank", "Shape", "ShapeN", "Size")


@contextlib.contextmanager
def way_out(source: Source, given: bool = False) -> Iterator[None]:
    """An :class:`UnsupportedOpsError` about strings, raised inside, also says what to export instead.

    Of a Keras model that are the first layers behind its inputs of strings that return numbers, and the inputs beside.
    ``given``: specs were given with ``inputs=``.
    """
    try:
        yield
    except UnsupportedOpsError as problem:
        texts = [spec.name for spec in source.inputs if spec.dtype == tf.string]
        refused = {name for name, reason in problem.reasons.items() if reason.endswith(REFUSAL)}
        if not texts or not refused:
            raise
        raise UnsupportedOpsError(problem.ops, problem.reasons, _remedy(source, texts, refused, given)) from problem


def _remedy(source: Source, texts: Sequence[str], refused: Container[str], given: bool) -> str:
    found, replaced = _first_numbers(source, texts, refused)
    if not found:
        return "Start behind the strings: export what stands behind their lookup, from the numbers that it returns"
    others = [spec.name for spec in source.inputs if spec.name not in replaced]
    names = ", ".join(repr(name) for name in [*found, *others])
    wanted = f"add to the specs in inputs=[...] the names [{names}]" if given else f"write inputs=[{names}]"
    return f"Start behind the layers that turn strings into numbers: {wanted}"


def _first_numbers(source: Source, texts: Sequence[str], refused: Container[str]) -> tuple[list[str], list[str]]:
    """Layers whose results cut every way from some of the inputs ``texts`` to an output, and these inputs.

    They are those inputs whose strings reach an operator that is ``refused``; no layer where layers cannot.
    """
    inputs = {spec.name for spec in source.inputs}
    layers = [name for name in source.layers if name not in inputs and name not in source.outputs]
    if not layers or source.tapped is None:
        return [], []
    found = _cut_by(source, layers, texts, refused)
    if found is None and len(layers) <= MOST_ALONE:
        # One that is called twice or returns something else than a tensor: the others may do.
        alone = [name for name in layers if _cut_by(source, [name], texts, refused) is not None]
        found = _cut_by(source, alone, texts, refused) if alone else None
    return found or ([], [])


def _cut_by(
    source: Source, layers: Sequence[str], texts: Sequence[str], refused: Container[str]
) -> tuple[list[str], list[str]] | None:
    """What :func:`_first_numbers` gives where only ``layers`` may be named; None where they cannot be, all at once."""
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
    starts = {spec.name: tensor.op for spec, tensor in zip(source.inputs, traced.inputs, strict=False)}
    # In a function that is called, operators are not seen.
    replaced = [name for name in texts if _reaches(starts[name], refused)] or list(texts)
    return _cut([starts[name] for name in replaced], traced.outputs, marked) or [], replaced


def _reaches(start: Any, refused: Container[str]) -> bool:
    """Whether strings that ``start`` makes get to an operator that is refused."""
    waiting, seen = [start], set()
    while waiting:
        op = waiting.pop()
        if op.name not in seen:
            seen.add(op.name)
            waiting += [user for tensor in op.outputs if tensor.dtype == tf.string for user in tensor.consumers()]
            if op.type in refused:
                return True
    return False


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
