"""The context of a rule: attributes of the op, ONNX operators as methods, and a few shared constructions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, cast, overload

import numpy as np

from pullback_export.graph.dims import Size
from pullback_export.graph.finiteness import is_finite
from pullback_export.graph.graph import Graph
from pullback_export.graph.operators import INT64_INPUTS
from pullback_export.graph.size_arithmetic import broadcast, without_rest
from pullback_export.graph.values import Value

_MAGNIFYING = {"Log", "Xlogy", "RealDiv", "Div", "DivNoNan", "Xdivy", "Reciprocal", "Inv", "Pow", "Rsqrt", "Sqrt"}
# TensorFlow ops whose result is as small as their operand.
_PASSING = {
    "Identity",
    "IdentityN",
    "Mul",
    "Neg",
    "Abs",
    "Cast",
    "Reshape",
    "Squeeze",
    "ExpandDims",
    "Transpose",
    "StridedSlice",
    "Slice",
    "GatherV2",
    "Unpack",
    "Prod",
    "ConcatV2",
    "Pack",
    "BroadcastTo",
}


class NotCovered(Exception):
    """Raised by ``op.unsupported``: the op has a rule, but it does not cover this attribute, dtype or shape."""


class Signal(Exception):
    """From a rule to an enclosing rule (a loop that has to start again), never an error of the op."""


class Emitter(Protocol):
    """An ONNX operator as a function: one value, or with ``outputs=`` a list of values."""

    @overload
    def __call__(self, *operands: Any, outputs: int, **attributes: Any) -> list[Value]: ...
    @overload
    def __call__(self, *operands: Any, **attributes: Any) -> Value: ...


def _spans(x: Value, y: Value, other: Value) -> bool:
    """Whether broadcasting with ``other`` adds nothing to the shape of ``x`` and ``y``."""
    if x.shape is None or y.shape is None or other.shape is None:
        return False
    shape = broadcast(x.shape, y.shape)
    return broadcast(shape, other.shape) == shape


class Reach(Protocol):
    """Data dependencies in the functions of a model; see :class:`~pullback_export.lowering.liveness.Liveness`."""

    def loop_variables(self, tf_op: Any, wanted: Iterable[int]) -> frozenset[int]:
        """The variables of a loop that lead to those wanted after it."""

    def loop_arguments(self, tf_op: Any, index: int) -> frozenset[int]:
        """The variables that one iteration computes variable ``index`` from."""


Missing = tuple[dict[str, list[str]], dict[str, str]]


class Calls(Protocol):
    """The part of :class:`~pullback_export.lowering.converter.Converter` that control-flow rules use."""

    @property
    def liveness(self) -> Reach:
        """Which variables of a loop are needed."""

    def function(self, func_graph: Any, name: str) -> Any:
        """The graph of the function that an op of ``func_graph`` calls by ``name``."""

    def convert(
        self, func_graph: Any, inputs: Sequence[Any], graph: Graph, wanted: Sequence[int] | None = None
    ) -> list[Any]:
        """Lowers ``func_graph`` into ``graph``."""

    def snapshot(self) -> Missing:
        """What is missing so far."""

    def restore(self, snapshot: Missing) -> None:
        """Forgets what was found missing since ``snapshot``."""


class OpContext:
    """The op being lowered. ``op.AnyOnnxOp(x, ..., attribute=...)`` adds a node and returns its value.

    Operands may be numbers and lists: they become constants, of int64 where ONNX wants that and else of the dtype
    of the first value among the operands. ``outputs=2`` returns a list of two values.
    """

    def __init__(self, graph: Graph, tf_op: Any, converter: Calls, wanted: frozenset[int] | None = None) -> None:
        self.graph = graph
        self.tf_op = tf_op
        self.converter = converter
        self.wanted = frozenset(range(len(tf_op.outputs))) if wanted is None else wanted
        """The outputs that anything depends on; a rule may return None for the others."""

    @property
    def type(self) -> str:
        """The TensorFlow op type."""
        return str(self.tf_op.type)

    def __getattr__(self, op_type: str) -> Emitter:
        if not op_type[:1].isupper():
            raise AttributeError(op_type)

        def emit(*operands: Any, outputs: int | None = None, **attributes: Any) -> Any:
            if op_type == "Reshape" and not attributes and isinstance(operands[1], list | tuple) and 0 in operands[1]:
                return self.reshape(*operands)
            values = self._operands(op_type, operands)
            results = self.graph.emit_many(op_type, values, attributes, outputs or 1)
            return results[0] if outputs is None else results

        return cast(Emitter, emit)

    def _operands(self, op_type: str, operands: Sequence[Any]) -> list[Value | None]:
        int64 = INT64_INPUTS.get(op_type, ())
        like = next((item.dtype for item in operands if isinstance(item, Value) and item.dtype != bool), None)
        result: list[Value | None] = []
        for index, item in enumerate(operands):
            if item is None:
                result.append(None)
            elif isinstance(item, Value):
                result.append(self.cast(item, np.int64) if index in int64 else item)
            elif index in int64:
                result.append(self.const(item, np.int64))
            else:
                result.append(self.const(item, like if not isinstance(item, np.ndarray) else None))
        return result

    def attr(self, name: str) -> Any:
        """An attribute of the TensorFlow op: dtypes as NumPy's, bytes as str, lists as lists."""
        item = self.tf_op.get_attr(name)
        if isinstance(item, bytes):
            return item.decode()
        return item.as_numpy_dtype if hasattr(item, "as_numpy_dtype") else item

    def output_dtype(self, index: int = 0) -> np.dtype[Any]:
        dtype: np.dtype[Any] = np.dtype(self.tf_op.outputs[index].dtype.as_numpy_dtype)
        return dtype

    def output_shape(self, index: int = 0) -> tuple[int | None, ...] | None:
        """TensorFlow's static shape of an output: None for a free size, None for an unknown rank."""
        shape = self.tf_op.outputs[index].shape
        return None if shape.rank is None else tuple(shape.as_list())

    def magnified(self) -> bool:
        """Whether something divides by the result or takes its logarithm, also after products and rearrangements.

        If not, an error in the last digit of 1 is acceptable even if the result itself is tiny.
        """
        stack, seen = list(self.tf_op.outputs), set()
        while stack:
            for consumer in stack.pop().consumers():
                if consumer.type in _MAGNIFYING:
                    return True
                if consumer.type in _PASSING and consumer not in seen:
                    seen.add(consumer)
                    stack.extend(consumer.outputs)
        return False

    def shares_input_with(self, op_type: str) -> bool:
        """Whether the first input also feeds an op of that type."""
        return any(consumer.type == op_type for consumer in self.tf_op.inputs[0].consumers())

    def unsupported(self, reason: str) -> NotCovered:
        """``raise op.unsupported("data_format NCHW")``: stops the export, with the op, the layer and the reason."""
        return NotCovered(reason)

    def const(self, array: Any, dtype: Any = None) -> Value:
        return self.graph.constant(array, dtype)

    def cast(self, value: Value, dtype: Any) -> Value:
        return self.graph.emit("Cast", [value], {"to": np.dtype(dtype)})

    def shape_of(self, value: Value) -> Value:
        """The shape as an int64 vector; a constant where the sizes are known."""
        return self.graph.emit("Shape", [value])

    def sizes(self, sizes: Sequence[Size]) -> Value:
        """An int64 vector that holds ``sizes``."""
        return self.graph.sizes_value(sizes)

    def reshape(self, value: Value, sizes: Sequence[Size]) -> Value:
        """``value`` in the shape ``sizes`` (ints, free sizes, one -1). A size of 0 is one: it does not copy."""
        if 0 in sizes:
            known = without_rest(value.dims, sizes) if -1 in sizes else sizes
            return self.graph.emit("Reshape", [value, self.sizes(known)], {"allowzero": 1})
        if sum(not isinstance(size, int) for size in sizes) == 1 and -1 not in sizes and 0 not in sizes:
            sizes = [size if isinstance(size, int) else -1 for size in sizes]
        return self.graph.emit("Reshape", [value, self.sizes(sizes)])

    def full(self, shape: Value | Sequence[Size], number: Any, dtype: Any) -> Value:
        """A tensor of ``shape`` that repeats ``number``; consumers that broadcast see the scalar."""
        target = self.cast(shape, np.int64) if isinstance(shape, Value) else self.sizes(shape)
        return self.graph.emit("Expand", [self.const(number, dtype), target])

    def full_like(self, value: Value, number: Any, dtype: Any = None) -> Value:
        return self.full(self.shape_of(value), number, dtype or value.dtype)

    def mask(self, condition: Value, value: Value) -> Value:
        """``value`` where ``condition`` holds, else 0, as a product: several times as fast as ``Where``.

        Differs from ``Where`` for infinite and NaN ``value``: use it where TensorFlow's kernel multiplies too.
        """
        return value * self.cast(condition, value.dtype)

    def where(self, condition: Value, x: Value, y: Value) -> Value:
        """``x`` where ``condition`` holds, else ``y``; any dtype, also those for which ONNX Runtime has no kernel."""
        if x.dtype == bool:
            return (condition & x) | (~condition & y)
        for chosen, other, mask in ((x, y, condition), (y, x, ~condition)):
            if other.fill == 0 and chosen.dtype.kind == "f" and _spans(mask, chosen, other) and is_finite(chosen):
                return self.mask(mask, chosen)
        through = {"int16": np.int32, "uint16": np.int32, "uint64": np.int64}.get(x.dtype.name)
        if through is not None:
            return self.cast(self.Where(condition, self.cast(x, through), self.cast(y, through)), x.dtype)
        return self.Where(condition, x, y)

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        return self.graph.emit("Transpose", [value], {"perm": [int(axis) for axis in perm]})

    def expand_to(self, value: Value, like: Value) -> Value:
        """``value`` broadcast to the shape of ``like``."""
        if value.shape is not None and like.shape is not None and broadcast(value.shape, like.shape) == value.shape:
            return value
        return self.graph.emit("Expand", [value, self.shape_of(like)])

    def constant_of(self, value: Value, what: str) -> np.ndarray[Any, Any]:
        """The contents of an operand that must be known when the model is exported."""
        if value.const is None:
            raise self.unsupported(f"the value of {what} depends on the data; use a constant")
        return value.const

    def body(self, hoists: bool = False) -> OpContext:
        """The same op in a new subgraph, for the body of a Loop or the branch of an If."""
        return OpContext(Graph(self.graph, hoists), self.tf_op, self.converter, self.wanted)
