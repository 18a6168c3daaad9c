"""What is known of ONNX operators (ONNX operator specification), in one table.

What a rewrite, a shape rule or a loop takes for granted of an operator stands here and nowhere else.
"""

from __future__ import annotations

import enum


class Fact(enum.Flag):
    """What holds of an operator; an operator without any is only known by its own rules."""

    UNARY = enum.auto()
    """Each element of the result is a function of that element of the first operand; others are scalars."""
    BROADCASTING = enum.auto()
    """Each element of the result is a function of those of all operands, which broadcast as NumPy's do."""
    BOOLEAN = enum.auto()
    """The result is boolean, whatever the operands are."""
    REDUCTION = enum.auto()
    """Takes axes away: the second operand or the attribute ``axes``, with ``keepdims``."""
    SAME_FOR_ONE = enum.auto()
    """Of one element, the reduction is that element."""
    REARRANGING = enum.auto()
    """Every element of the result is one of the first operand's."""
    RANDOM = enum.auto()
    """Two nodes with the same inputs give different results."""
    BOUNDED_BY_ONE = enum.auto()
    """No element of the result is larger than 1 in size."""
    KEEPS_FINITE = enum.auto()
    """Finite operands give a finite result (short of overflow)."""
    CHEAP = enum.auto()
    """To compute it again after a loop costs less than to collect it in each iteration."""
    SHRINKING = enum.auto()
    """The result is smaller than the operand: better done before something is collected or stored."""
    ELEMENTWISE = UNARY | BROADCASTING


_UNARY = Fact.UNARY
_BROADCASTING = Fact.BROADCASTING
_BOOLEAN = Fact.BOOLEAN
_REDUCTION = Fact.REDUCTION
_SAME_FOR_ONE = Fact.SAME_FOR_ONE
_REARRANGING = Fact.REARRANGING
_RANDOM = Fact.RANDOM
_BOUNDED_BY_ONE = Fact.BOUNDED_BY_ONE
_KEEPS_FINITE = Fact.KEEPS_FINITE
_CHEAP = Fact.CHEAP
_SHRINKING = Fact.SHRINKING

OPERATORS: dict[str, Fact] = {
    "Abs": _UNARY | _KEEPS_FINITE | _CHEAP,
    "Acos": _UNARY,
    "Acosh": _UNARY,
    "Add": _BROADCASTING | _KEEPS_FINITE | _CHEAP,
    "And": _BROADCASTING | _BOOLEAN,
    "Asin": _UNARY,
    "Asinh": _UNARY,
    "Atan": _UNARY,
    "Atanh": _UNARY,
    "Bernoulli": _RANDOM,
    "BitShift": _BROADCASTING,
    "BitwiseAnd": _BROADCASTING,
    "BitwiseNot": _UNARY,
    "BitwiseOr": _BROADCASTING,
    "BitwiseXor": _BROADCASTING,
    "Cast": _UNARY | _KEEPS_FINITE | _CHEAP,
    "Ceil": _UNARY,
    "Celu": _UNARY,
    "Clip": _UNARY | _KEEPS_FINITE,
    "Concat": _KEEPS_FINITE,
    "Conv": _KEEPS_FINITE,
    "ConvTranspose": _KEEPS_FINITE,
    "Cos": _UNARY | _BOUNDED_BY_ONE | _KEEPS_FINITE,
    "Cosh": _UNARY,
    "CumSum": _KEEPS_FINITE,
    "Div": _BROADCASTING,
    "Einsum": _KEEPS_FINITE,
    "Elu": _UNARY,
    "Equal": _BROADCASTING | _BOOLEAN,
    "Erf": _UNARY | _BOUNDED_BY_ONE,
    "Exp": _UNARY,
    "Expand": _REARRANGING | _KEEPS_FINITE,
    "Floor": _UNARY,
    "Gather": _REARRANGING | _KEEPS_FINITE | _SHRINKING,
    "GatherElements": _KEEPS_FINITE,
    "GatherND": _KEEPS_FINITE,
    "Gelu": _UNARY,
    "Gemm": _KEEPS_FINITE,
    "Greater": _BROADCASTING | _BOOLEAN,
    "GreaterOrEqual": _BROADCASTING | _BOOLEAN,
    "HardSigmoid": _UNARY | _BOUNDED_BY_ONE,
    "HardSwish": _UNARY,
    "Identity": _UNARY | _REARRANGING | _KEEPS_FINITE,
    "IsInf": _UNARY | _BOOLEAN,
    "IsNaN": _UNARY | _BOOLEAN,
    "LeakyRelu": _UNARY | _KEEPS_FINITE,
    "Less": _BROADCASTING | _BOOLEAN,
    "LessOrEqual": _BROADCASTING | _BOOLEAN,
    "Log": _UNARY,
    "MatMul": _KEEPS_FINITE,
    "Max": _BROADCASTING | _KEEPS_FINITE,
    "Mean": _BROADCASTING,
    "Min": _BROADCASTING | _KEEPS_FINITE,
    "Mish": _UNARY,
    "Mod": _BROADCASTING,
    "Mul": _BROADCASTING | _KEEPS_FINITE | _CHEAP,
    "Multinomial": _RANDOM,
    "Neg": _UNARY | _KEEPS_FINITE | _CHEAP,
    "Not": _UNARY | _BOOLEAN,
    "Or": _BROADCASTING | _BOOLEAN,
    "Pad": _KEEPS_FINITE,
    "Pow": _BROADCASTING,
    "RandomNormal": _RANDOM,
    "RandomNormalLike": _RANDOM,
    "RandomUniform": _RANDOM,
    "RandomUniformLike": _RANDOM,
    "Reciprocal": _UNARY,
    "ReduceL1": _REDUCTION,
    "ReduceL2": _REDUCTION,
    "ReduceLogSum": _REDUCTION,
    "ReduceLogSumExp": _REDUCTION,
    "ReduceMax": _REDUCTION | _SAME_FOR_ONE | _SHRINKING,
    "ReduceMean": _REDUCTION | _SAME_FOR_ONE | _SHRINKING,
    "ReduceMin": _REDUCTION | _SAME_FOR_ONE | _SHRINKING,
    "ReduceProd": _REDUCTION | _SAME_FOR_ONE | _SHRINKING,
    "ReduceSum": _REDUCTION | _SAME_FOR_ONE | _KEEPS_FINITE | _SHRINKING,
    "ReduceSumSquare": _REDUCTION,
    "Relu": _UNARY | _KEEPS_FINITE | _CHEAP,
    "Reshape": _REARRANGING | _KEEPS_FINITE | _CHEAP,
    "Round": _UNARY,
    "ScatterElements": _KEEPS_FINITE,
    "ScatterND": _KEEPS_FINITE,
    "Selu": _UNARY,
    "Sigmoid": _UNARY | _BOUNDED_BY_ONE | _KEEPS_FINITE | _CHEAP,
    "Sign": _UNARY | _BOUNDED_BY_ONE | _KEEPS_FINITE | _CHEAP,
    "Sin": _UNARY | _BOUNDED_BY_ONE | _KEEPS_FINITE,
    "Sinh": _UNARY,
    "Slice": _REARRANGING | _KEEPS_FINITE | _CHEAP | _SHRINKING,
    "Softmax": _BOUNDED_BY_ONE,
    "Softplus": _UNARY,
    "Softsign": _UNARY | _BOUNDED_BY_ONE,
    "Split": _KEEPS_FINITE | _CHEAP | _SHRINKING,
    "Sqrt": _UNARY,
    "Squeeze": _REARRANGING | _KEEPS_FINITE | _CHEAP,
    "StringConcat": _BROADCASTING,
    "Sub": _BROADCASTING | _KEEPS_FINITE | _CHEAP,
    "Sum": _BROADCASTING | _KEEPS_FINITE,
    "Tan": _UNARY,
    "Tanh": _UNARY | _BOUNDED_BY_ONE | _KEEPS_FINITE | _CHEAP,
    "ThresholdedRelu": _UNARY,
    "Tile": _REARRANGING | _KEEPS_FINITE,
    "Transpose": _REARRANGING | _KEEPS_FINITE | _CHEAP,
    "Unsqueeze": _REARRANGING | _KEEPS_FINITE | _CHEAP,
    "Where": _BROADCASTING | _KEEPS_FINITE,
    "Xor": _BROADCASTING | _BOOLEAN,
}

# The opset of ``ai.onnx`` that brought an operator, where that is later than 18.
SINCE: dict[str, int] = {"StringConcat": 20, "StringSplit": 20}

# Inputs that the specification wants as int64, by position.
INT64_INPUTS: dict[str, tuple[int, ...]] = {
    "Reshape": (1,),
    "Expand": (1,),
    "Tile": (1,),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
    "Unsqueeze": (1,),
    "Squeeze": (1,),
    "ReduceSum": (1,),
    "ReduceMean": (1,),
    "ReduceMax": (1,),
    "ReduceMin": (1,),
    "ReduceProd": (1,),
    "ReduceL1": (1,),
    "ReduceL2": (1,),
    "ReduceSumSquare": (1,),
    "ReduceLogSumExp": (1,),
    "ReduceLogSum": (1,),
    "TopK": (1,),
    "ConstantOfShape": (0,),
    "Split": (1,),
    "ScatterND": (1,),
    "GatherND": (1,),
    "Resize": (3,),
    "CumSum": (1,),
    "DFT": (1, 2),
}


def operators(fact: Fact) -> frozenset[str]:
    """The operators of which any of ``fact`` holds."""
    return frozenset(op_type for op_type, facts in OPERATORS.items() if facts & fact)


UNARY = operators(Fact.UNARY)
BROADCASTING = operators(Fact.BROADCASTING)
ELEMENTWISE = operators(Fact.ELEMENTWISE)
BOOLEAN = operators(Fact.BOOLEAN)
REDUCTIONS = operators(Fact.REDUCTION)
SAME_FOR_ONE = operators(Fact.SAME_FOR_ONE)
REARRANGING = operators(Fact.REARRANGING)
RANDOM = operators(Fact.RANDOM)
BOUNDED_BY_ONE = operators(Fact.BOUNDED_BY_ONE)
KEEPING_FINITE = operators(Fact.KEEPS_FINITE)
CHEAP = operators(Fact.CHEAP)
SHRINKING = operators(Fact.SHRINKING)
# Larger constants are not computed, nor turned around by a rewrite: the file would grow, or hold them twice.
LARGEST_CONSTANT = 4096
# Factors beyond this, or below its inverse, could overflow or underflow in another place of a product.
LARGEST_SCALE = 2.0**20
