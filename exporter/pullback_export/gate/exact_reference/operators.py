"""What TensorFlow says of an operator: the dtypes of its operands, and whether the CPU computes it in a dtype."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tensorflow.core.framework import types_pb2
from tensorflow.python.framework import kernels, op_def_registry

# The dtype of everything that is to be computed more precisely, and the one that it is then computed in.
Retyping = Mapping[int, int]
TO_FLOAT64: Retyping = {
    types_pb2.DT_HALF: types_pb2.DT_DOUBLE,
    types_pb2.DT_BFLOAT16: types_pb2.DT_DOUBLE,
    types_pb2.DT_FLOAT: types_pb2.DT_DOUBLE,
    types_pb2.DT_COMPLEX64: types_pb2.DT_COMPLEX128,
}
HALF_TO_FLOAT32: Retyping = {types_pb2.DT_HALF: types_pb2.DT_FLOAT, types_pb2.DT_BFLOAT16: types_pb2.DT_FLOAT}

# Operators whose result in another dtype is another one and not the same more precisely: bits, texts, random numbers,
# neighbours among floats, and Python functions. They stay as they are, between casts, and lose nothing by it.
_OF_THE_DTYPE = frozenset({"AsString", "Bitcast", "NextAfter", "StringToNumber"})
_OF_THE_DTYPE_STARTS = ("Decode", "Parse", "Stateless", "Random", "Multinomial", "ParameterizedTruncatedNormal")
_NOT_RANDOM = frozenset({"StatelessIf", "StatelessWhile", "StatelessCase", "RandomGammaGrad"})
# Bytes from which a constant counts for the memory of an export.
_LARGE = 2**20
_HOST_CODE = frozenset({"PyFunc", "PyFuncStateless", "EagerPyFunc", "XlaCallModule"})
# Resources that hold values of the graph itself, and no variable from outside of it.
_INNER_RESOURCES = ("TensorArray", "Stack")


def definition(name: str) -> Any:
    """The ``OpDef``, or None for what is no operator but a function called by its name."""
    return op_def_registry.get(name)


def operand_types(arguments: Sequence[Any], attributes: Mapping[str, Any]) -> list[int]:
    """The dtype of each tensor that the ``arguments`` of an ``OpDef`` or of a signature stand for."""
    found: list[int] = []
    for argument in arguments:
        if argument.type_list_attr:
            found += attributes[argument.type_list_attr].list.type
            continue
        dtype = attributes[argument.type_attr].type if argument.type_attr else argument.type
        found += [dtype] * (attributes[argument.number_attr].i if argument.number_attr else 1)
    return found


def operand_names(arguments: Sequence[Any], attributes: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Name and number of each tensor, as a ``FunctionDef`` writes them: ``node:name:number``."""
    for argument in arguments:
        count = 1
        if argument.type_list_attr:
            count = len(attributes[argument.type_list_attr].list.type)
        elif argument.number_attr:
            count = attributes[argument.number_attr].i
        yield from ((argument.name, number) for number in range(count))


def reads_a_variable(op: Any) -> bool:
    """Whether an operator gives what a variable holds, all of it or rows."""
    return op.name in ("ReadVariableOp", "ResourceGather", "ResourceGatherNd")


def is_large_constant(op: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether an operator is a float32 constant of many bytes, which is kept as it is and cast where it is used."""
    if op.name != "Const" or attributes["dtype"].type != types_pb2.DT_FLOAT:
        return False
    tensor = attributes["value"].tensor
    return max(len(tensor.tensor_content), 4 * len(tensor.float_val)) >= _LARGE


def reads_weights_as_they_are(op: Any) -> bool:
    """Whether an operator picks rows of its first operand, or tells its shape: a cast of all of it would be a waste."""
    return op.name in ("Gather", "GatherV2", "GatherNd", "Shape", "Size")


def holds_weights(node: Any) -> bool:
    """Whether a node gives all of a variable, or a constant."""
    return node.op in ("ReadVariableOp", "Const")


def keeps_its_dtype(op: Any) -> bool:
    """Whether an operator has a result in its own dtype only, and says there exactly what is wanted.

    Variables are read in the dtype that they are stored in: the truth is that of the model's own weights.
    """
    if op.name in _OF_THE_DTYPE or op.name in _HOST_CODE:
        return True
    if op.name.startswith(_OF_THE_DTYPE_STARTS) and op.name not in _NOT_RANDOM:
        return True
    if op.name.startswith(_INNER_RESOURCES):
        return False
    return any(item.type == types_pb2.DT_RESOURCE for item in (*op.input_arg, *op.output_arg))


def is_host_code(op: Any) -> bool:
    """Whether an operator that keeps its dtype computes in it, however it does so."""
    return op.name in _HOST_CODE


def has_kernel(op: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether ``op`` accepts these attributes and the CPU has a kernel for their dtypes."""
    for item in op.attr:
        allowed = set(item.allowed_values.list.type)
        if allowed and item.name in attributes and not types_in(attributes[item.name]) <= allowed:
            return False
    constraints = _kernels(op.name)
    return not constraints or any(
        all(types_in(attributes[name]) <= allowed for name, allowed in one.items() if name in attributes)
        for one in constraints
    )


def types_in(value: Any) -> set[int]:
    """The dtypes that an attribute's value names."""
    kind = value.WhichOneof("value")
    return {value.type} if kind == "type" else set(value.list.type) if kind == "list" else set()


@functools.cache
def _kernels(name: str) -> tuple[dict[str, set[int]], ...]:
    """For each CPU kernel the dtypes that it takes, by attribute."""
    return tuple(
        {item.name: set(item.allowed_values.list.type) for item in kernel.constraint if item.allowed_values.list.type}
        for kernel in kernels.get_registered_kernels_for_op(name).kernel
        if kernel.device_type in ("CPU", "DEFAULT")
    )
