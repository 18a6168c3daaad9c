"""What a graph under construction is made of: nodes, the values they make, and the region that both stand in.

Nothing here knows how a node is made: operators of values ask the :class:`Region` that a value lives in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pullback_export.graph.dims import Dim, Shape, Size
from pullback_export.graph.uses import Readable, Reader

Attribute = Any  # int, float, str, list of these, np.ndarray, or Region
Attributes = dict[str, Attribute]
Operands = Sequence["Value | None"]
Array = np.ndarray[Any, Any]


class Region(Reader):
    """A graph as its values and nodes see it: the model, the body of a loop or a branch of an If.

    :class:`~pullback_export.graph.graph.Graph` is the only one; values need no more of it than this.
    """

    parent: Region | None
    root: Region
    depth: int
    origin: str  # of the root: where in the model what is made now comes from
    finite: dict[Node, bool]  # of the root: which nodes are known to give finite values, or not to
    nodes: list[Node]
    inputs: list[tuple[str, Value]]
    _outputs: tuple[tuple[str, Value], ...]

    @property
    def outputs(self) -> tuple[tuple[str, Value], ...]:
        """The results, with the names that they have outside of a loop or branch."""
        return self._outputs

    @outputs.setter
    def outputs(self, outputs: Iterable[tuple[str, Value]]) -> None:
        before, self._outputs = self.operands(), tuple(outputs)
        self._reads_differently(before)

    def operands(self) -> list[Value]:
        """The results."""
        return [value for _, value in self._outputs]

    def replace(self, old: Readable, new: Readable) -> None:
        """See :meth:`Reader.replace`."""
        assert isinstance(new, Value)
        self.outputs = [(name, new if value is old else value) for name, value in self._outputs]

    def wanted(self) -> bool:
        """A graph is as live as the node that it belongs to."""
        return self.live

    def emit(self, op_type: str, inputs: Operands, attributes: Attributes | None = None) -> Value:
        """One node with one output."""
        raise NotImplementedError

    def emit_many(self, op_type: str, inputs: Operands, attributes: Attributes | None, outputs: int) -> list[Value]:
        """One node with several outputs."""
        raise NotImplementedError

    def emit_unfolded(self, op_type: str, inputs: Operands, **attributes: Attribute) -> Value:
        """One node of the whole model, also of constants: ONNX Runtime computes it when the session opens."""
        raise NotImplementedError

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """A constant of the whole model."""
        raise NotImplementedError

    def fresh_size(self, hint: str = "d") -> Dim:
        """A free size that nothing is known about."""
        raise NotImplementedError

    def sizes_value(self, sizes: Sequence[Size]) -> Value:
        """An int64 vector with these contents."""
        raise NotImplementedError

    def vector_of(self, size: Size) -> Value | None:
        """A vector of one element that is known to hold ``size``."""
        raise NotImplementedError

    def place(
        self,
        op_type: str,
        inputs: Operands,
        attributes: Attributes,
        results: Sequence[Value],
        before: Node | None = None,
    ) -> Node:
        """A node that makes ``results``, with no rewrite: as the last one, or ``before`` another."""
        raise NotImplementedError

    def take_nodes(self) -> list[Node]:
        """Empties the graph and returns its nodes, to be put back one by one."""
        raise NotImplementedError

    def put_back(self, node: Node) -> None:
        """A node that was taken; from now on an equal one is not made again."""
        raise NotImplementedError

    def name_size(self, number: Value, size: Dim) -> None:
        """Gives the number in an int64 scalar, or in a vector of one, the name ``size``."""
        raise NotImplementedError


class Node(Reader):
    """One ONNX node; an omitted input is None. Its bodies stay the same graphs as long as it lives."""

    __slots__ = ("_inputs", "attributes", "condition_of_some", "op_type", "origin", "outputs")

    def __init__(self, op_type: str, inputs: Operands, attributes: Attributes) -> None:
        self.op_type = op_type
        self.attributes = attributes
        self.outputs: list[Value] = []
        self.condition_of_some: Value | None = None
        """Of an ``If`` whose branches give the same: the condition that is faster where not all of it is wanted. It is
        among what the condition is made of, and stands in the file for ``pullback.storage.onnx_cut``."""
        self.origin = ""
        """Where in the model it comes from: the scope of TensorFlow's operator, layers by name; for people who look."""
        self.live = False
        self._inputs = tuple(inputs)

    @property
    def inputs(self) -> tuple[Value | None, ...]:
        """The operands; those that its bodies read beside them are not among them."""
        return self._inputs

    @inputs.setter
    def inputs(self, inputs: Operands) -> None:
        before, self._inputs = self._inputs, tuple(inputs)
        self._reads_differently(before)

    def operands(self) -> tuple[Value | None, ...]:
        """The inputs."""
        return self._inputs

    def replace(self, old: Readable, new: Readable) -> None:
        """See :meth:`Reader.replace`."""
        assert isinstance(new, Value)
        self.inputs = [new if value is old else value for value in self._inputs]

    def inner(self) -> Iterator[Region]:
        """The graphs of a loop or branch."""
        return self.bodies()

    def wanted(self) -> bool:
        """Whether an output that no other node makes has a live reader."""
        return any(value.is_read and value.node is self for value in self.outputs)

    def make(self, results: Sequence[Value]) -> None:
        """``results`` are what the node makes; a node of several outputs that made one before has to drop it."""
        former = [value.node for value in results if value.node is not None and value.node is not self]
        self.outputs = list(results)
        for value in results:
            value.node = self
        self._makes_differently()
        for node in former:
            node._makes_differently()

    def bodies(self) -> Iterator[Region]:
        """The graphs of a loop or branch."""
        return (item for item in self.attributes.values() if isinstance(item, Region))

    def reads(self) -> Iterator[Value]:
        """Every value that the node uses, also inside of its bodies."""
        yield from (value for value in self.inputs if value is not None)
        for body in self.bodies():
            yield from (value for _, value in body.outputs)
            for inner in body.nodes:
                yield from inner.reads()

    def replace_inputs(self, read: Callable[[Value], Value]) -> None:
        """Puts ``read(value)`` in the place of every value that the node uses, also inside of its bodies."""
        self.inputs = [None if value is None else read(value) for value in self.inputs]
        for body in self.bodies():
            for inner in body.nodes:
                inner.replace_inputs(read)
            body.outputs = [(name, read(value)) for name, value in body.outputs]


class Value(Readable):
    """A tensor in the graph: ``dtype`` (NumPy), ``shape`` of ints and :class:`Dim`, or None for an unknown rank.

    ``const`` holds the contents of a constant, ``sizes`` the symbolic contents of an integer vector that was
    computed from shapes, ``fill`` the one number that the tensor repeats.
    """

    __slots__ = ("_sizes", "const", "dtype", "fill", "graph", "node", "shape")

    def __init__(self, graph: Region, dtype: np.dtype[Any], shape: Shape | None, node: Node | None = None) -> None:
        self.graph = graph
        self.dtype = np.dtype(dtype)
        self.shape = shape
        self.node = node
        self.const: Array | None = None
        self.fill: float | None = None
        self._sizes: Array | None = None
        self._readers = None

    def maker(self) -> Node | None:
        """The node that makes the value; None for inputs and constants."""
        return self.node

    @property
    def sizes(self) -> Array | None:
        """Contents as an object array of ints and :class:`Dim`, where every element is known."""
        if self._sizes is None and self.const is not None and self.dtype.kind in "iu" and self.const.size <= 4096:
            self._sizes = as_objects(self.const)
        return self._sizes

    @property
    def rank(self) -> int:
        return len(self.dims)

    @property
    def dims(self) -> Shape:
        """The shape, which must have a known rank."""
        if self.shape is None:
            raise UnknownRank("a tensor of unknown rank; give the inputs shapes of known rank, and make axes constants")
        return self.shape

    def refine(self, shape: Shape | None) -> None:
        """Takes over a shape that says more of the sizes than shape inference knows, such as TensorFlow's."""
        self.shape = shape

    def __repr__(self) -> str:
        origin = "const" if self.const is not None else self.node.op_type if self.node else "input"
        return f"<{origin} {self.dtype.name}{list(self.shape) if self.shape is not None else '?'}>"

    def _binary(self, op_type: str, other: Operand, swap: bool = False) -> Value:
        right = self.graph.root.constant(other, self.dtype) if not isinstance(other, Value) else other
        return self.graph.emit(op_type, [right, self] if swap else [self, right])

    def __add__(self, other: Operand) -> Value:
        return self._binary("Add", other)

    def __radd__(self, other: Operand) -> Value:
        return self._binary("Add", other, swap=True)

    def __sub__(self, other: Operand) -> Value:
        return self._binary("Sub", other)

    def __rsub__(self, other: Operand) -> Value:
        return self._binary("Sub", other, swap=True)

    def __mul__(self, other: Operand) -> Value:
        return self._binary("Mul", other)

    def __rmul__(self, other: Operand) -> Value:
        return self._binary("Mul", other, swap=True)

    def __truediv__(self, other: Operand) -> Value:
        return self._binary("Div", other)

    def __rtruediv__(self, other: Operand) -> Value:
        return self._binary("Div", other, swap=True)

    def __pow__(self, other: Operand) -> Value:
        return self * self if isinstance(other, int) and other == 2 else self._binary("Pow", other)

    def __matmul__(self, other: Value) -> Value:
        return self._binary("MatMul", other)

    def __neg__(self) -> Value:
        return self.graph.emit("Neg", [self])

    def __lt__(self, other: Operand) -> Value:  # type: ignore[misc]  # a node, whichever side is asked
        return self._binary("Less", other)

    def __le__(self, other: Operand) -> Value:  # type: ignore[misc]  # a node, whichever side is asked
        return self._binary("LessOrEqual", other)

    def __gt__(self, other: Operand) -> Value:  # type: ignore[misc]  # a node, whichever side is asked
        return self._binary("Greater", other)

    def __ge__(self, other: Operand) -> Value:  # type: ignore[misc]  # a node, whichever side is asked
        return self._binary("GreaterOrEqual", other)

    def equals(self, other: Operand) -> Value:
        """Elementwise equality (``==`` stays identity, so that values can be looked up)."""
        return self._binary("Equal", other)

    def __and__(self, other: Value) -> Value:
        return self._binary("And", other)

    def __or__(self, other: Value) -> Value:
        return self._binary("Or", other)

    def __invert__(self) -> Value:
        return self.graph.emit("Not", [self])


Number = bool | int | float


Operand = Value | Number | Array


class UnknownRank(ValueError):
    """A rule needs the rank of a tensor that TensorFlow does not know."""


def as_objects(array: Array) -> Array:
    """The integers of ``array`` as Python ints in an object array."""
    objects = np.empty(array.shape, object)
    objects.ravel()[:] = [int(item) for item in array.ravel()] if array.ndim else [int(array)]
    return objects
