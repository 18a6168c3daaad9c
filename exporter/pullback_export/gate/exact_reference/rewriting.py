"""Rewrites a traced function, and whatever it calls, so that its floats have another dtype.

Every tensor of a dtype that is rewritten has the new one afterwards, everywhere. An operator that cannot follow is
composed of others, where there is a formula for it, or else computes as before between two casts. What float32 derived
stays: a constant keeps its value, a variable is read and then cast, so that the result is what the trained weights mean
and not what other weights would.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import attr_value_pb2, function_pb2, node_def_pb2, types_pb2
from tensorflow.python.framework import tensor_util

from pullback_export.gate.exact_reference import operators
from pullback_export.gate.exact_reference.compositions import Composition, composition
from pullback_export.gate.exact_reference.late_casts import late_casts
from pullback_export.gate.exact_reference.operators import HALF_TO_FLOAT32, Retyping

_numbers = itertools.count()
# What would put another implementation in the function's place, or belongs to derivatives that are in it already.
_DROPPED = frozenset(
    {"_gradient_op_type", "_XlaMustCompile", "api_implements", "api_preferred_device", "backward_function_name"}
    | {"forward_function_name", "_implements"}
)


@dataclasses.dataclass(frozen=True)
class Coverage:
    """How many operators on floats were rewritten, and which were not, with their numbers."""

    operators: int = 0
    left: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether nothing computes in its old dtype."""
        return not self.left

    def __add__(self, other: Coverage) -> Coverage:
        left = collections.Counter(self.left) + collections.Counter(other.left)
        return Coverage(self.operators + other.operators, dict(sorted(left.items())))

    def __str__(self) -> str:
        rewritten = self.operators - sum(self.left.values())
        text = f"{rewritten} of {self.operators} operators in float64"
        return text + (f"; float32: {', '.join(f'{op} ({n})' for op, n in self.left.items())}" if self.left else "")


@dataclasses.dataclass(frozen=True)
class Rewritten:
    """The definitions of a function and of what it calls, under names of their own; ``name`` is the function's."""

    name: str
    definitions: tuple[Any, ...]
    coverage: Coverage


def rewrite(
    function: Any,
    find: Callable[[str], Any],
    retyping: Retyping,
    unsuitable: frozenset[str] = frozenset(),
    variables: bool = False,
    composed: bool = False,
    groups: bool = False,
) -> Rewritten:
    """``function``, a ``FunctionDef``, with ``retyping`` applied; ``find(name)`` gives what it calls, or None.

    ``unsuitable`` names operators that keep their dtype, although there is a kernel in the new one. ``variables``: the
    function will be given variables of the new dtype, and need not cast what it reads of them. ``composed``: operators
    without a float64 kernel become calls of functions, of which TensorFlow does not infer shapes. ``groups``: so do
    derivatives of convolutions in what XLA compiles, which may be in groups.
    """
    return _Rewriter(find, retyping, unsuitable, variables, composed, groups).all_of(function)


class _Rewriter:
    """One function and all that it calls."""

    def __init__(
        self,
        find: Callable[[str], Any],
        retyping: Retyping,
        unsuitable: frozenset[str],
        variables: bool,
        composed: bool,
        groups: bool,
    ) -> None:
        self.find = find
        self.retyping = retyping
        self.unsuitable = unsuitable
        self.variables = variables
        self.composed = composed and retyping.get(types_pb2.DT_FLOAT) == types_pb2.DT_DOUBLE
        self.groups = groups
        self.compositions: dict[tuple[Any, ...], Any] = {}
        self.names: dict[str, str] = {}
        self.waiting: list[Any] = []
        # Operators with their dtypes, of which a graph has few, and what becomes of them.
        self.chosen: dict[tuple[Any, ...], Retyping] = {}
        self.operators = 0
        self.left: collections.Counter[str] = collections.Counter()

    def all_of(self, function: Any) -> Rewritten:
        name = self._name(function.signature.name, function)
        done: list[Any] = []
        while self.waiting:
            done.append(self._function(self.waiting.pop()))
        done += self.compositions.values()
        return Rewritten(name, tuple(reversed(done)), Coverage(self.operators, dict(sorted(self.left.items()))))

    def called(self, name: str) -> str:
        """The new name of a function that is called."""
        return self.names.get(name) or self._name(name, self.find(name))

    def _name(self, name: str, definition: Any) -> str:
        if definition is None:
            raise LookupError(f"the traced graph calls {name!r}, which it does not hold")
        self.names[name] = f"{name}__retyped_{next(_numbers)}"
        self.waiting.append(definition)
        return self.names[name]

    def _function(self, old: Any) -> Any:
        new = function_pb2.FunctionDef()
        new.CopyFrom(old)
        del new.node_def[:]
        new.signature.name = self.names[old.signature.name]
        for argument in (*new.signature.input_arg, *new.signature.output_arg):
            argument.type = self.retyping.get(argument.type, argument.type)
        for name in _DROPPED & set(new.attr):
            del new.attr[name]
        groups = self.groups and old.attr["_XlaMustCompile"].b
        body = _Body(self, {item.name for item in (*old.node_def, *old.signature.input_arg)}, groups)
        for node in old.node_def:
            body.add(node)
        for node in body.nodes:
            for index, name in enumerate(node.input):
                if node.name not in body.made and (node.name, index) not in body.raw:
                    node.input[index] = body.replaced.get(name, name)
        for key, name in list(new.ret.items()):
            new.ret[key] = body.replaced.get(name, name)
        new.node_def.extend(late_casts(body.nodes, body.weights, body.taken, set(new.ret.values())))
        return new


class _Body:
    """The nodes of one function; ``replaced`` maps a tensor to the cast that stands in its place."""

    def __init__(self, rewriter: _Rewriter, names: set[str], groups: bool) -> None:
        self.rewriter = rewriter
        self.groups = groups
        self.taken = names
        self.nodes: list[Any] = []
        self.made: set[str] = set()
        self.replaced: dict[str, str] = {}
        self.weights: set[str] = set()  # the casts of what variables hold
        self.raw: set[tuple[str, int]] = set()  # operands, by node and number, for which no cast stands

    def add(self, old: Any) -> None:
        """The node in its new form, and casts around it where it does not take part."""
        node = node_def_pb2.NodeDef()
        node.CopyFrom(old)
        for name in _DROPPED & set(node.attr):
            del node.attr[name]
        op = operators.definition(old.op)
        if op is None:
            self._add_call(node)
            return
        attributes = _with_defaults(op, node.attr)
        before = operators.operand_types(op.input_arg, attributes), operators.operand_types(op.output_arg, attributes)
        touched = any(dtype in self.rewriter.retyping for dtype in (*before[0], *before[1]))
        self._rename_functions(node)
        if not touched and not any(
            operators.types_in(value) & self.rewriter.retyping.keys() for value in attributes.values()
        ):
            self.nodes.append(node)
            return
        composed = touched and self.rewriter.composed
        made = composition(op, attributes, before[0], self.groups) if composed else None
        if made is not None:
            self._compose(node, op, attributes, made, before[1])
            return
        if operators.reads_weights_as_they_are(op) and self._is_of_weights(node.input[0]):
            self.raw.add((node.name, 0))
        raw = (node.name, 0) in self.raw
        retyping = {} if raw else self._retyping(op, attributes)
        _retype(node, attributes, retyping, op)
        attributes = _with_defaults(op, node.attr)
        after = operators.operand_types(op.input_arg, attributes), operators.operand_types(op.output_arg, attributes)
        if raw:
            self.rewriter.operators += 1
        elif touched:
            self._count(op, before, after)
        self._cast_inputs(node, before[0], after[0])
        self.nodes.append(node)
        self._cast_outputs(node, list(operators.operand_names(op.output_arg, attributes)), before[1], after[1])

    def _compose(
        self, node: Any, op: Any, attributes: Mapping[str, Any], made: Composition, results: list[int]
    ) -> None:
        """A call of a function, in the place of an operator."""
        rewriter = self.rewriter
        rewriter.operators += 1
        key = op.name, *(value.SerializeToString(deterministic=True) for _, value in sorted(attributes.items()))
        if key not in rewriter.compositions:
            rewriter.compositions[key] = made.definition(attributes)
        definition = rewriter.compositions[key]
        node.op = "PartitionedCall"
        node.attr.clear()
        node.attr["f"].func.name = definition.signature.name
        node.attr["Tin"].list.type.extend(argument.type for argument in definition.signature.input_arg)
        node.attr["Tout"].list.type.extend(argument.type for argument in definition.signature.output_arg)
        self.nodes.append(node)
        flowing = [rewriter.retyping.get(dtype, dtype) for dtype in results]
        assert flowing == list(node.attr["Tout"].list.type)
        for index, (name, number) in enumerate(operators.operand_names(op.output_arg, attributes)):
            self.replaced[f"{node.name}:{name}:{number}"] = f"{node.name}:output:{index}"

    def _add_call(self, node: Any) -> None:
        """A function that is called by its name, as ``tf.compat.v1`` writes it: its signature follows its body."""
        node.op = self.rewriter.called(node.op)
        self._rename_functions(node)
        self.nodes.append(node)

    def _is_of_weights(self, tensor: str) -> bool:
        """Whether a cast of what a variable or a constant holds stands in the place of ``tensor``."""
        return self.replaced.get(tensor, "").split(":")[0] in self.weights

    def _rename_functions(self, node: Any) -> None:
        for value in node.attr.values():
            for function in (*([value.func] if value.HasField("func") else ()), *value.list.func):
                if function.name:
                    function.name = self.rewriter.called(function.name)

    def _retyping(self, op: Any, attributes: Mapping[str, Any]) -> Retyping:
        """What becomes of the node's own attributes: the new dtypes, float32 for half precision, or nothing."""
        if self.rewriter.variables and operators.reads_a_variable(op):
            return self.rewriter.retyping
        if (
            operators.keeps_its_dtype(op)
            or op.name in self.rewriter.unsuitable
            or operators.is_large_constant(op, attributes)
        ):
            return {}
        key = op.name, *((name, *sorted(operators.types_in(value))) for name, value in sorted(attributes.items()))
        if key not in self.rewriter.chosen:
            self.rewriter.chosen[key] = self._with_kernel(op, attributes)
        return self.rewriter.chosen[key]

    def _with_kernel(self, op: Any, attributes: Mapping[str, Any]) -> Retyping:
        """Looks up kernels, which takes long beside everything else here."""
        for retyping in (self.rewriter.retyping, HALF_TO_FLOAT32):
            retyped = {name: _retyped(value, retyping) for name, value in attributes.items()}
            if operators.has_kernel(op, retyped):
                return retyping
        return {}

    def _count(self, op: Any, before: tuple[list[int], ...], after: tuple[list[int], ...]) -> None:
        self.rewriter.operators += 1
        if (operators.keeps_its_dtype(op) and not operators.is_host_code(op)) or op.name == "Const":
            return
        wanted = self.rewriter.retyping
        pairs = [(old, new) for way in (0, 1) for old, new in zip(before[way], after[way], strict=True)]
        if any(old in wanted and new != wanted[old] for old, new in pairs):
            self.rewriter.left[op.name] += 1

    def _cast_inputs(self, node: Any, before: list[int], after: list[int]) -> None:
        for index, (old, needed) in enumerate(zip(before, after, strict=True)):
            flowing = self.rewriter.retyping.get(old, old)
            if flowing != needed and (node.name, index) not in self.raw:
                node.input[index] = self._cast(f"{node.name}/input_{index}", node.input[index], flowing, needed)

    def _cast_outputs(self, node: Any, names: list[tuple[str, int]], before: list[int], after: list[int]) -> None:
        for (name, number), old, given in zip(names, before, after, strict=True):
            flowing = self.rewriter.retyping.get(old, old)
            if flowing != given:
                source = f"{node.name}:{name}:{number}"
                self.replaced[source] = self._cast(f"{node.name}/{name}_{number}", source, given, flowing, kept=True)
                if operators.holds_weights(node):
                    self.weights.add(self.replaced[source].split(":")[0])

    def _cast(self, name: str, source: str, given: int, wanted: int, kept: bool = False) -> str:
        """``kept``: the cast of an output reads that output, and not what stands in its place."""
        while name in self.taken:
            name += "_"
        self.taken.add(name)
        if kept:
            self.made.add(name)
        node = node_def_pb2.NodeDef(name=name, op="Cast", input=[source])
        node.attr["SrcT"].type, node.attr["DstT"].type = given, wanted
        self.nodes.append(node)
        return f"{name}:y:0"


def _with_defaults(op: Any, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a node, with those that it leaves to the operator's defaults."""
    return {item.name: item.default_value for item in op.attr if item.HasField("default_value")} | dict(attributes)


def _retyped(value: Any, retyping: Retyping) -> Any:
    kind = value.WhichOneof("value")
    if kind == "type" and value.type in retyping:
        return attr_value_pb2.AttrValue(type=retyping[value.type])
    if kind == "list" and any(dtype in retyping for dtype in value.list.type):
        types = [retyping.get(dtype, dtype) for dtype in value.list.type]
        return attr_value_pb2.AttrValue(list=attr_value_pb2.AttrValue.ListValue(type=types))
    return value


def _retype(node: Any, attributes: Mapping[str, Any], retyping: Retyping, op: Any) -> None:
    """Changes the dtypes among the node's ``attributes``, defaults included, and a constant with its own."""
    for item in op.attr:
        if item.type in ("type", "list(type)"):
            value = attributes.get(item.name)
            if value is not None and (new := _retyped(value, retyping)) is not value:
                node.attr[item.name].CopyFrom(new)
        elif item.type == "tensor" and item.name in node.attr and node.attr[item.name].tensor.dtype in retyping:
            old = node.attr[item.name].tensor
            dtype = tf.as_dtype(retyping[old.dtype])
            array = np.asarray(tensor_util.MakeNdarray(old)).astype(dtype.as_numpy_dtype)
            node.attr[item.name].tensor.CopyFrom(tensor_util.make_tensor_proto(array, dtype))
