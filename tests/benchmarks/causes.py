"""Rows that are over their aim or behind another engine: what is missed, why, what was tried, where the time goes.

The texts stand in :data:`CAUSES`; the numbers in them are those of the run, by the names that :func:`numbers` lists.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import engines, work
from tests.benchmarks.resources import duration
from tests.benchmarks.rows import REFERENCE, Row

# For one row at a time, Pullback is to be so many times as fast; everywhere else simply not behind.
AHEAD_AT_ONE_ROW = {"tf_function": 10.0, "keras_tape": 100.0}
UNEXPLAINED = "Not explained yet."
Operator = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Cause:
    """Why a row is not ahead, at these batch sizes, and at least three things that were tried.

    ``at_one_row`` follows the cause where the batch is 1. All texts may hold fields: see :func:`numbers`.
    """

    work: str
    batches: tuple[int, ...]
    cause: str
    tried: tuple[str, ...]
    at_one_row: str = ""


_ELEMENTWISE = (
    "ONNX Runtime computes elementwise steps one by one, each a pass over memory; XLA makes one loop of several."
)
_HEAVY = (
    "Nearly all the time is arithmetic that every engine does (the forward pass alone takes {forward}), so that no"
    " engine can be ten times as fast as another."
)
_POINTWISE = (
    "Gradients of strided 1x1 convolutions as one `ConvTranspose` instead of a convolution and zeros between its"
    " results: kept; ResNet50 went from 2.6 to 2.3 times its forward pass."
)
_MASKS = (
    "Masks as convolutions with one kernel per channel and a steep `HardSigmoid`, which stay in the blocked layout"
    " (exact for all float32): no gain, the convolutions took as long as comparing and leaving the layout."
)
_PHASES = (
    "Gradients of strided depthwise convolutions as one convolution for each phase, interleaved by `Concat`, instead of"
    " `ConvTranspose`: kept; 1.24 ms instead of 2.86 for 5x5 kernels, 144 x 28 x 28 numbers and a stride of 2, 3.28"
    " instead of 4.22 for 3x3 and 96 x 56 x 56. Interleaved by `DepthToSpace` or `Transpose` it takes longer than"
    " `ConvTranspose`; zeros between the results and one convolution 1.54 and 3.44 ms."
)
CAUSES: tuple[Cause, ...] = (
    Cause(
        "bowl",
        (1, 64, 4096, 65536),
        _ELEMENTWISE
        + " Masks of relu are three steps (`Greater` {share[Greater]}, `Cast` {share[Cast]}, `Mul` {share[Mul]}).",
        (
            "Products with one column as rows: kept; 45 us instead of 130 for 4096 x 64.",
            "The mask by `Sign` (512 us for 4096 x 64), `HardSigmoid` (194), `Ceil` and `Clip` (196), a cast to bool"
            " and back (149) or `Where` (1254): the comparison (129) is fastest.",
            "Chunks of 128 to 4096 rows: half a MiB of the widest value is best, and kept.",
            "The constant factor of the last layer inside the weights: kept, 7 % of the call.",
        ),
        "Starting the nodes is all the time there is.",
    ),
    Cause(
        "surrogate",
        (1,),
        "The weights, 133,000 numbers, are read once forward and once backward, by every engine.",
        (
            "Weights used in place (`transB`) instead of a transposed copy: kept.",
            "The last column as a row: kept.",
            "One thread instead of two: kept as the default for small files; a second one costs more than it brings.",
        ),
    ),
    Cause(
        "surrogate",
        (64, 4096, 65536),
        "Matrix products take {share[Gemm]} and {share[FusedGemm]}; the rest is masks, which ONNX Runtime does not"
        " fuse.",
        (
            "Products with one column as rows: kept; 137 us instead of 396 for 4096 x 256.",
            "Chunks of 128 to 2048 rows: all within 5 % of each other on one thread.",
            "Threads side by side, a chunk each, instead of inside each operator: kept.",
            "Masks as `Where`, `Sign` or `HardSigmoid` instead of a cast comparison: slower.",
        ),
    ),
    Cause(
        "hessian",
        (1, 1000),
        _ELEMENTWISE
        + " They are {share[Mul]} of the call as `Mul`; the matrix products run at the speed of the processor.",
        (
            "Constant factors inside the weights, with a matrix for each seed: kept.",
            "What all seeds share is multiplied first: kept; with the above 22 became 17 to 19 times the forward pass.",
            "Chunks of 256 rows: kept, 4 to 15 %.",
            "Seeds that only scale a term moved out of the per-seed loop: kept, 8 % at 1000 rows.",
            "The sum of both terms inside `Gemm`: no gain through the reshape between them.",
        ),
    ),
    Cause(
        "hvp",
        (1, 1000),
        _ELEMENTWISE
        + " The four large matrix products are at the speed of the processor; ten elementwise steps are left.",
        (
            "Constant factors inside the weights: kept; 3.7 became 3.3 times the forward pass.",
            "The sum of both terms inside `Gemm`: kept, 2 %.",
            "Chunks of 128 to 512 rows at 1000 rows: 8 to 40 % slower.",
        ),
    ),
    Cause(
        "jacobian",
        (1, 1000),
        _ELEMENTWISE,
        (
            "What all seeds share is multiplied first, constants go into weights: kept; 3.7 became 2.9 at 1000 rows.",
            "Chunks of 128 to 512 rows at 1000 rows: 20 to 95 % slower.",
            "One thread: kept as the default for small files; a second one costs more than it brings at one row.",
        ),
        "Starting {nodes[Mul]} products and the other nodes is all the time there is.",
    ),
    Cause(
        "transformer",
        (1, 8),
        "Matrix products take {share[MatMul]} (`MatMul`), {share[Gemm]} (`Gemm`) and {share[FusedMatMul]}"
        " (`FusedMatMul`); products of the derivative of gelu, softmax and the normalisations {share[Mul]}.",
        (
            "The factor that both terms of the derivative of gelu share multiplied once, constants joined, nine"
            " steps became seven: kept; 2.27 became 2.19 at 8, 2.21 became 2.16 at 1.",
            "Sums inside the matrix product in front of them: kept where shapes allow; no gain here.",
            "Transposes cancelled across the border of forward and backward pass: kept.",
        ),
        _HEAVY,
    ),
    Cause(
        "mobilenet_v2",
        (1,),
        "Between convolutions ({share[Conv]}) lie masks of relu6, two comparisons each (`Less` {share[Less]}, `Greater`"
        " {share[Greater]}, `And` {share[And]}, `Cast` {share[Cast]}, `Mul` {share[Mul]}), for which ONNX Runtime"
        " leaves and enters the blocked layout (`ReorderOutput` {share[ReorderOutput]}, `ReorderInput`"
        " {share[ReorderInput]}). Results of the phases of strided depthwise gradients are interleaved by `Concat`"
        " ({share[Concat]}).",
        (
            _MASKS,
            _PHASES,
            "The mask by the sign of `y * (6 - y)` (3.6 ms for 96 x 112 x 112), by one comparison of it (2.2), by `Mod`"
            " (9.5) or `Where` (6.6): two comparisons (2.1) are fastest.",
        ),
        _HEAVY,
    ),
    Cause(
        "efficientnet_b0",
        (1,),
        "The forward pass has swish as one fused operator; with its derivative it takes six elementwise steps (`Mul`"
        " {share[Mul]}, `Sigmoid` {share[Sigmoid]}). The factors of squeeze and excitation are broadcast, for which"
        " ONNX Runtime leaves the blocked layout (`ReorderOutput` {share[ReorderOutput]}).",
        (
            "Steps with a scalar as convolutions with one kernel per channel, which stay in the blocked layout: kept;"
            " 3.2 became 2.9 times the forward pass.",
            "The derivative of swish from its value, one step less: kept; with the next one 3.24 became 2.79.",
            _PHASES,
            "Sums of the gates' gradients as `GlobalAveragePool`, which has a blocked kernel: 1 %, not kept.",
        ),
        _HEAVY,
    ),
    Cause(
        "resnet50",
        (1, 8),
        "Convolutions take {share[Conv]}, and are within the aim; `ConvTranspose` of strided convolutions takes"
        " {share[ConvTranspose]}, and the maximum pooling, which must say where the maxima are, {share[MaxPool]}:"
        " neither has a blocked kernel.",
        (
            _POINTWISE,
            _MASKS,
            "Both transposed convolutions in front of a sum as one of joined inputs: no gain.",
        ),
        _HEAVY,
    ),
    Cause(
        "lstm",
        (1, 32),
        "Each of the 200 steps starts 12 small nodes inside `Scan` forward and 6 backward, at a microsecond or more"
        " each; XLA compiles the whole loop.",
        (
            "Rows of a step joined before the loop, sums inside matrix products, no states that are zero or equal:"
            " kept; 14 and 11 nodes became 12 and 6.",
            "`Scan` instead of `Loop`, what is not recurrent outside of it: kept.",
            "Gates computed once more for all steps after the loop instead of collected in it: kept.",
            "Weight products of all steps as one in front of the loop: kept.",
        ),
    ),
)


def key(row: Row) -> str:
    """Names a row among the profiles."""
    return f"{row.work} {row.batch} {row.threads}"


def missed(row: Row) -> list[str]:
    """What is not reached, each as a phrase; empty for a row that is ahead and within its aim."""
    found = []
    ratios, goal = row.ratios(REFERENCE, row.floor()), work.row(row.work).goal(row.batch)
    if ratios and goal is not None and statistics.median(ratios) > goal:
        found.append(f"{statistics.median(ratios):.2f} times the fastest forward pass, the aim is {goal:g}")
    for item in engines.ENGINES:
        times = row.ratios(item.name, REFERENCE)
        if item.name in (*engines.FLOORS, *engines.BOUNDS, REFERENCE) or not times:
            continue
        least = AHEAD_AT_ONE_ROW.get(item.name, 1.0) if row.batch == 1 else 1.0
        if statistics.median(times) < least:
            aim = f", the aim is {least:g}" if least > 1 else ""
            found.append(f"{item.title} takes {statistics.median(times):.2f} times as long as Pullback{aim}")
    return found


def numbers(row: Row, operators: Sequence[Operator]) -> dict[str, Any]:
    """The fields of a text.

    ``forward``: the time of the forward pass; ``share[Op]`` and ``nodes[Op]``: of an ONNX operator in the profile,
    nothing where it has none.
    """
    forward = row.seconds(engines.FLOOR)
    return {
        "forward": duration(forward) if forward else "(not measured)",
        "share": defaultdict(lambda: "0 %", {item["op"]: f"{100 * item['share']:.0f} %" for item in operators}),
        "nodes": defaultdict(int, {item["op"]: item["count"] for item in operators}),
    }


def section(rows: Sequence[Row], profiles: Mapping[str, Sequence[Operator]]) -> list[str]:
    """Markdown of all rows that miss something; empty where there is none."""
    behind = [(row, phrases) for row in rows if (phrases := missed(row))]
    if not behind:
        return []
    lines = [
        "## Rows that are not ahead",
        "",
        "Over the aim for value and derivative against the forward pass, or behind another engine; at batch 1 the aims"
        " are 10 times as fast as `tf.function` and 100 times as fast as Keras under a `GradientTape`. Each with its"
        " cause, what was tried, and where ONNX Runtime spends the time (`pullback bench --profile`, which makes short"
        " nodes longer).",
        "",
    ]
    for row, phrases in behind:
        lines += _explained(row, phrases, profiles.get(key(row), ()))
    return lines


def find(row: Row, causes: Sequence[Cause] | None = None) -> Cause | None:
    """The text for a row; raises ``LookupError`` where two fit."""
    table = CAUSES if causes is None else causes
    fitting = [c for c in table if c.work == row.work and row.batch in c.batches]
    if len(fitting) > 1:
        raise LookupError(f"{key(row)}: two causes fit; each row has one")
    return fitting[0] if fitting else None


def _explained(row: Row, phrases: Sequence[str], operators: Sequence[Operator]) -> list[str]:
    plural = "s" if row.threads > 1 else ""
    lines = [f"### {work.row(row.work).title}, batch {row.batch:,}, {row.threads} thread{plural}", ""]
    lines += [*(f"* {phrase}" for phrase in phrases), ""]
    cause = find(row)
    if cause is None:
        lines += [UNEXPLAINED, ""]
    else:
        fields = numbers(row, operators)
        why = f"{cause.cause} {cause.at_one_row}".rstrip() if row.batch == 1 else cause.cause
        lines += [why.format_map(fields), "", "Tried:", ""]
        lines += [f"{place}. {text.format_map(fields)}" for place, text in enumerate(cause.tried, 1)]
        lines += [""]
    return lines + _profile(operators)


def _profile(operators: Sequence[Operator]) -> list[str]:
    if not operators:
        return ["No profile was taken.", ""]
    lines = ["| operator | nodes | time | share |", "| --- | --: | --: | --: |"]
    shown = [item for item in operators if item["share"] >= 0.01]
    for item in shown:
        lines.append(f"| {item['op']} | {item['count']} | {duration(item['us'] / 1e6)} | {item['share']:.0%} |")
    rest = sum(item["us"] for item in operators) - sum(item["us"] for item in shown)
    count = sum(item["count"] for item in operators) - sum(item["count"] for item in shown)
    return [*lines, *([f"| others | {count} | {duration(rest / 1e6)} | |"] if count else []), ""]
