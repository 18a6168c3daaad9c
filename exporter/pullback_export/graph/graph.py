"""The ONNX graph under construction: values that know dtype, shape and, where possible, their contents.

``Graph.emit`` is the one door through which a node enters. It first simplifies, folds constants and sizes,
reuses an equal node, and moves work that does not depend on a loop out of the loop; only then is a node made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from pullback_export.graph import folding
from pullback_export.graph.dims import Dim, Shape, Size, known
from pullback_export.graph.node_keys import digest, key_of
from pullback_export.graph.shapes import inference
from pullback_export.graph.size_values import sizes_value
from pullback_export.graph.values import Attribute, Attributes, Node, Operands, Region, Value

Rewrite = Callable[[Region, str, Operands, Attributes], Value | None]


class Graph(Region):
    """Nodes in order of creation. ``parent`` is set for the body of a Loop or the branch of an If.

    ``hoists``: nodes of a loop body whose inputs all live outside of it are put outside of it. ``rewrites``, of the
    root and for all graphs inside of it: what may give the result of an operator before its node is made, in order
    (``optimize.pipeline.new_graph`` hands in all there are).
    """

    parent: Graph | None
    root: Graph
    rewrites: tuple[Rewrite, ...]

    def __init__(self, parent: Graph | None = None, hoists: bool = False, rewrites: tuple[Rewrite, ...] = ()) -> None:
        self.parent = parent
        self.hoists = hoists
        self.root = parent.root if parent else self
        self.rewrites = parent.rewrites if parent else rewrites
        self.depth = parent.depth + 1 if parent else 0
        self.live = parent is None
        self.nodes = []
        self.inputs = []
        self._outputs = ()
        self._seen: dict[Any, list[Value]] = {}
        self._constants: dict[Any, Value] = {}
        self._fresh = 0
        self.finite = {}
        self.assumption: tuple[Value, bool] | None = None  # of a branch: its predicate, and what that is here
        self.active: Graph = self  # of the root: the graph that rules are writing to
        self.origin = ""

    def input(self, name: str, dtype: np.dtype[Any], shape: Shape | None) -> Value:
        value = Value(self, dtype, shape)
        self.inputs.append((name, value))
        return value

    def constant(self, array: Any, dtype: Any = None) -> Value:
        """A constant of the whole model; equal contents are stored once."""
        if self.root is not self:
            return self.root.constant(array, dtype)
        contents = np.asarray(array, dtype)
        if not contents.flags.c_contiguous:
            contents = np.ascontiguousarray(contents).reshape(contents.shape)
        key = (contents.dtype.str, contents.shape, digest(contents))
        if key not in self._constants:
            value = Value(self, contents.dtype, contents.shape)
            value.const = contents
            numbers = contents.dtype != object and 0 < contents.size <= 4096
            if numbers and (contents == contents.flat[0]).all():
                value.fill = contents.flat[0].item()
            self._constants[key] = value
        return self._constants[key]

    def forget_constants(self) -> None:
        """Lets the memory of constants go: a graph refers to itself, and is collected much later than it is needed."""
        for value in self._constants.values():
            value.const = None
        self._constants.clear()

    def fresh_size(self, hint: str = "d") -> Dim:
        """A free size that nothing is known about."""
        self.root._fresh += 1
        return Dim.atom(f"{hint}{self.root._fresh}")

    def emit(
        self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Attribute] | None = None
    ) -> Value:
        """One node with one output; see the module's docstring."""
        return self.emit_many(op_type, inputs, attributes, 1)[0]

    def emit_many(
        self, op_type: str, inputs: Sequence[Value | None], attributes: dict[str, Attribute] | None, outputs: int
    ) -> list[Value]:
        attributes = {key: item for key, item in (attributes or {}).items() if item is not None}
        operands = list(inputs)
        while operands and operands[-1] is None:
            operands.pop()
        target = self._innermost(operands)
        if target is not self:
            return target.emit_many(op_type, operands, attributes, outputs)
        short = self._shortcut(op_type, operands, attributes) if outputs == 1 else None
        if short is not None:
            return [short]
        folded = self._fold(op_type, operands, attributes) if outputs == 1 else None
        if folded is not None and folded.const is not None:
            return [folded]
        owner = self._owner(operands, attributes)
        key = key_of(op_type, operands, attributes, outputs)
        sizes_key = None
        if folded is not None and folded._sizes is not None:
            sizes_key = _sizes_key(folded.dtype, folded._sizes.shape, tuple(folded._sizes.flat))
        for candidate in (key, sizes_key):
            known = owner._lookup(candidate) if candidate is not None else None
            if known is not None:
                return known
        if op_type == "MaxPool" and (shared := self._shared_pool(owner, operands, attributes, outputs)) is not None:
            return shared
        inferred = inference.infer(owner.fresh_size, op_type, operands, attributes, outputs)
        if op_type not in ("Expand", "If", "Loop", "Scan"):
            empty = [self._empty(dtype, shape) for dtype, shape in inferred]
            if all(value is not None for value in empty):
                return [value for value in empty if value is not None]
        node = Node(op_type, operands, attributes)
        node.origin = self.root.origin
        node.outputs = [Value(owner, dtype, shape, node) for dtype, shape in inferred]
        if folded is not None:
            node.outputs[0]._sizes = folded._sizes
            node.outputs[0].shape = folded.shape
        if outputs == 1:
            node.outputs[0].fill = folding.fill_of(op_type, operands)
        owner.nodes.append(node)
        for candidate in (key, sizes_key):
            if candidate is not None:
                owner._seen[candidate] = node.outputs
        return node.outputs

    def emit_unfolded(self, op_type: str, inputs: Operands, **attributes: Attribute) -> Value:
        """One node of the whole model, also of constants: ONNX Runtime computes it when the session opens."""
        if self.root is not self:
            return self.root.emit_unfolded(op_type, inputs, **attributes)
        operands = list(inputs)
        key = key_of(op_type, operands, attributes, 1)
        if key not in self._seen:
            ((dtype, shape),) = inference.infer(self.fresh_size, op_type, operands, attributes, 1)
            node = Node(op_type, operands, attributes)
            node.origin = self.origin
            node.outputs = [Value(self, dtype, shape, node)]
            self.nodes.append(node)
            self._seen[key] = node.outputs
        return self._seen[key][0]

    def _empty(self, dtype: np.dtype[Any], shape: Shape | None) -> Value | None:
        """A tensor without elements needs no computation, of which ONNX Runtime is not always capable."""
        if shape is None or 0 not in shape:
            return None
        if all(isinstance(size, int) for size in shape):
            return self.constant(np.zeros([known(size) for size in shape], dtype))
        if not all(map(self.knows_size, shape)):
            return None
        return self.emit("Expand", [self.constant("" if dtype.kind == "O" else 0, dtype), self.sizes_value(shape)])

    def _shared_pool(
        self, owner: Graph, operands: list[Value | None], attributes: dict[str, Attribute], outputs: int
    ) -> list[Value] | None:
        """A maximum pooling that differs in its outputs only: the gradient wants to know where the maxima are."""
        known = owner._lookup(key_of("MaxPool", operands, attributes, 3 - outputs))
        if known is not None and outputs == 2 and len(known) == 1:
            dtype, shape = inference.infer(owner.fresh_size, "MaxPool", operands, attributes, 2)[1]
            known.append(Value(known[0].graph, dtype, shape, known[0].node))
        return known

    def _innermost(self, operands: Iterable[Value | None]) -> Region:
        """The graph in which a node can see all of its operands: the one being written, or that of an operand."""
        innermost: Region = self.root.active if self.root.active.depth > self.depth else self
        for value in operands:
            if value is not None and value.graph.depth > innermost.depth:
                innermost = value.graph
        return innermost

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """While this lasts, operators of values that live further out put their nodes here."""
        before, self.root.active = self.root.active, self
        try:
            yield
        finally:
            self.root.active = before

    def mark(self) -> list[tuple[Graph, int, int]]:
        """What this graph and those around it hold now, for :meth:`rollback`."""
        around = [self]
        while around[-1].parent is not None:
            around.append(around[-1].parent)
        return [(graph, len(graph.nodes), len(graph._seen)) for graph in around]

    @staticmethod
    def rollback(mark: list[tuple[Graph, int, int]]) -> None:
        """Takes back every node that was made since ``mark``."""
        for graph, nodes, seen in mark:
            del graph.nodes[nodes:]
            while len(graph._seen) > seen:
                graph._seen.popitem()

    def place(
        self,
        op_type: str,
        inputs: Operands,
        attributes: Attributes,
        results: Sequence[Value],
        before: Node | None = None,
    ) -> Node:
        """A node that makes ``results``, with no rewrite: as the last one, or ``before`` another."""
        node = Node(op_type, inputs, dict(attributes))
        node.origin = next((value.node.origin for value in results if value.node is not None), self.root.origin)
        node.make(results)
        self.nodes.insert(len(self.nodes) if before is None else self.nodes.index(before), node)
        return node

    def take_nodes(self) -> list[Node]:
        """Empties the graph and returns its nodes, to be put back one by one; new ones only see what is back."""
        taken, self.nodes, self._seen = self.nodes, [], {}
        return taken

    def put_back(self, node: Node) -> None:
        """A node that was taken; from now on an equal one is not made again."""
        self.nodes.append(node)
        key = key_of(node.op_type, node.inputs, node.attributes, len(node.outputs))
        if key is not None:
            self._seen.setdefault(key, node.outputs)

    def name_size(self, number: Value, size: Dim) -> None:
        """Gives the number in an int64 scalar or vector the name ``size``, as which axes may have it from now on."""
        if number.graph is not self:
            number.graph.name_size(number, size)
            return
        objects = np.empty((1,) * number.rank, object)
        objects[...] = size
        number._sizes = objects
        self._seen[_sizes_key(np.dtype(np.int64), objects.shape, (size,))] = [number]
        if not number.rank:
            self.emit("Reshape", [number, self.constant(np.array([1], np.int64))])

    def _shortcut(self, op_type: str, operands: list[Value | None], attributes: dict[str, Attribute]) -> Value | None:
        for rewrite in self.rewrites:
            short = rewrite(self, op_type, operands, attributes)
            if short is not None:
                return short
        return None

    def _lookup(self, key: Any) -> list[Value] | None:
        graph: Graph | None = self
        while graph is not None:
            if key in graph._seen:
                return graph._seen[key]
            graph = graph.parent
        return None

    def _owner(self, operands: Iterable[Value | None], attributes: dict[str, Attribute]) -> Graph:
        """The graph that the node goes to: out of every loop that none of its inputs is made in."""
        if any(isinstance(item, Graph) for item in attributes.values()):
            return self
        deepest = max((value.graph.depth for value in operands if value is not None), default=0)
        owner = self
        while owner.parent is not None and owner.hoists and deepest < owner.depth:
            owner = owner.parent
        return owner

    def _fold(self, op_type: str, operands: list[Value | None], attributes: dict[str, Attribute]) -> Value | None:
        arrays = [value.const if value is not None else None for value in operands]
        if all(value is None or value.const is not None for value in operands):
            result = folding.fold(op_type, arrays, attributes)
            if result is not None:
                return self.constant(result)
        sizes = folding.fold_sizes(op_type, operands, attributes)
        if sizes is None:
            return None
        contents, dtype = sizes
        if all(isinstance(item, int) for item in contents.flat):
            return self.constant(contents.astype(dtype))
        value = Value(self, dtype, contents.shape)
        value._sizes = contents
        return value

    def sizes_value(self, sizes: Sequence[Size]) -> Value:
        """An int64 vector with these contents; every free size must be the size of some axis in the graph."""
        return sizes_value(self, sizes)

    def knows_size(self, size: Size) -> bool:
        """Whether a size can be computed here."""
        try:
            self.sizes_value([size])
        except KeyError:
            return False
        return True

    def vector_of(self, size: Size) -> Value | None:
        """A vector of one element that is known to hold ``size``."""
        known = self._lookup(_sizes_key(np.dtype(np.int64), (1,), (size,)))
        return known[0] if known is not None else None


def _sizes_key(dtype: np.dtype[Any], shape: tuple[int, ...], sizes: tuple[Size, ...]) -> tuple[Any, ...]:
    return "sizes", dtype.str, shape, sizes
