"""Why rows are over their aim or behind another engine, and what was tried: printed by ``causes``."""

from __future__ import annotations

import dataclasses

from tests.benchmarks import tries


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
_STATES = (
    "ONNX's operator returns the states and not the gates, of which the derivative needs those of all steps: with few"
    " rows they are computed once more from its states, with many by a loop that collects them; then the steps are"
    " gone through backwards by another loop (`Scan` {share[Scan]}, `Mul` {share[Mul]}, `Gemm` {share[Gemm]})."
)
_COMPILED = "Each step of a loop starts its nodes, at a microsecond or more each; XLA compiles the whole loop."

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
            tries.GELU,
            tries.LAYER_NORM,
            tries.FEW_ROWS,
        ),
        _HEAVY,
    ),
    Cause(
        "mobilenet_v2",
        (1,),
        "Between convolutions ({share[Conv]}) lie masks of relu6, several steps each (`Less` {share[Less]}, `And`"
        " {share[And]}, `Cast` {share[Cast]}, `Mul` {share[Mul]}), for which ONNX Runtime leaves and enters the blocked"
        " layout (`ReorderOutput` {share[ReorderOutput]}, `ReorderInput` {share[ReorderInput]}). Results of the phases"
        " of strided depthwise gradients are interleaved by `Concat` ({share[Concat]}).",
        (
            tries.MASKS,
            tries.PHASES,
            tries.SPREAD_DEPTHWISE,
            tries.PARTS,
            "The mask by the sign of `y * (6 - y)` (3.6 ms for 96 x 112 x 112), by one comparison of it (2.2), by `Mod`"
            " (9.5) or `Where` (6.6): two comparisons (2.1) were fastest. One comparison and a cast to bool: 72 us"
            " instead of 150 for the first one; no difference in the whole call (3.05, 3.06 before).",
            tries.LAYOUT,
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
            " 3.2 became 2.9 times the forward pass. `1 - s` as `HardSigmoid`: 0.6 of such a convolution; no"
            " difference in the whole call (2.80, 2.81 before).",
            "The derivative of swish from its value, one step less: kept; with the next one 3.24 became 2.79.",
            "The value of swish as the fused `QuickGelu` and its sigmoid computed again for the derivative, instead of"
            " kept: 1.01 of the time. The factor `x * (1 - s)` as one `QuickGelu` of `-1`: 1.09.",
            tries.PHASES,
            tries.SPREAD_DEPTHWISE,
            tries.PARTS,
            "The gates of squeeze and excitation repeated by `Resize`, which has a blocked kernel: 1.03 of the time.",
            "Sums of the gates' gradients as `GlobalAveragePool`, which has a blocked kernel: 1 %, not kept.",
            tries.LAYOUT,
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
            tries.POINTWISE,
            tries.MASKS,
            "Both transposed convolutions in front of a sum as one of joined inputs: no gain.",
            tries.FIRST_KERNEL,
            tries.LAYOUT,
            tries.FEW_ROWS,
        ),
        _HEAVY,
    ),
    Cause(
        "densenet121",
        (1,),
        "Convolutions take {share[Conv]}. Each layer normalises all channels before it and has a mask of its own for"
        " them (`Greater` {share[Greater]}, `Cast` {share[Cast]}, `Mul` {share[Mul]}); gradients of joined channels are"
        " cut apart and added (`Slice` {share[Slice]}, `Add` {share[Add]}). For all of these ONNX Runtime leaves the"
        " blocked layout (`ReorderOutput` {share[ReorderOutput]}, `ReorderInput` {share[ReorderInput]}). The maximum"
        " pooling says where the maxima are ({share[MaxPool]}).",
        (
            "BatchNormalization of joined channels as a convolution with one kernel per channel: kept, the value takes"
            " 0.90 of the time, value and gradient 0.94; BatchNormalization's factor in the kernel in front of the"
            " mask: kept, 0.99.",
            tries.TILES,
            tries.MAXIMA,
            tries.FIRST_KERNEL,
            "Comparisons, casts and products moved into the blocked layout by hand in the optimised graph: 2.31 instead"
            " of 2.34; not kept: such a graph is of one processor and one version. Without blocks 2.87 instead of"
            " 2.50.",
        ),
        _HEAVY,
    ),
    Cause(
        "convnext_tiny",
        (1,),
        "Convolutions take {share[Conv]}, matrix products {share[MatMul]} (`MatMul`) and {share[Gemm]} (`Gemm`); the"
        " derivatives of gelu and of the normalisations are products ({share[Mul]}) and sums ({share[Add]}), each a"
        " pass over memory.",
        (
            "The factor that both terms of the derivative of gelu share multiplied once, constants joined, nine steps"
            " became seven: kept.",
            "The layout as a choice at load: without the blocked one 2.62 instead of 2.07.",
            tries.GELU,
            tries.LAYER_NORM,
        ),
        _HEAVY,
    ),
    Cause(
        "unet",
        (1,),
        "Convolutions take {share[Conv]}, transposed ones {share[ConvTranspose]}; masks of relu (`Greater`"
        " {share[Greater]}, `Cast` {share[Cast]}, `Mul` {share[Mul]}) leave and enter the blocked layout"
        " (`ReorderOutput` {share[ReorderOutput]}, `ReorderInput` {share[ReorderInput]}), and each of the maximum"
        " poolings says where the maxima are ({share[MaxPool]}).",
        (
            "BatchNormalization's factor in the kernel in front of the mask: kept, no difference that could be measured"
            " (2.17, 2.18 before).",
            tries.MAXIMA,
            "The layout as a choice at load: without the blocked one 2.50 instead of 2.17.",
        ),
        _HEAVY,
    ),
    Cause(
        "jacobian_1000",
        (1,),
        "The derivatives by ten inputs pass the last layer's weights, 64,000 numbers, in one product (`MatMul`"
        " {share[MatMul]}), as the value does in another; the 10,000 results are turned around (`Transpose`"
        " {share[Transpose]}).",
        (
            "By the 10 inputs instead of the 1000 outputs, with constants inside the weights: kept.",
            "The product of the transposed matrices, which needs no turning around: 1.42 of the time on an Intel Xeon.",
            "Value and derivatives as one product of 11 rows: 1.08 of the time there.",
        ),
        "The other nodes, short as they are, take about as long.",
    ),
    Cause("lstm", (1, 32), _STATES, (*tries.REVERSE, tries.CHUNKS, tries.COLLECTED, tries.ONE_MORE_ROW), _COMPILED),
    Cause("lstm_48", (1, 32), _STATES, (*tries.REVERSE, tries.COLLECTED, tries.ONE_MORE_ROW), _COMPILED),
    Cause("gru_48", (1, 32), _STATES, (tries.GRU_STEP, tries.COLLECTED, tries.ONE_MORE_ROW), _COMPILED),
    Cause(
        "bidirectional",
        (1, 32),
        _STATES,
        (tries.MASK_FACTORS, *tries.BOTH_AT_ONCE, *tries.REVERSE, tries.COLLECTED, tries.ONE_MORE_ROW, tries.TURNED),
        _COMPILED,
    ),
)
