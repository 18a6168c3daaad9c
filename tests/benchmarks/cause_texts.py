"""Why rows are over their aim or behind another engine, and what was tried: printed by ``causes``."""

from __future__ import annotations

import dataclasses


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
    " results: kept; ResNet50 went from 2.6 to 2.3 times its forward pass. Only the places that are not zero computed,"
    " through sums, masks and 1x1 convolutions, and spread where zeros are needed: kept, 2.28 became 2.16."
)
_MASKS = (
    "Masks as convolutions with one kernel per channel and a steep `HardSigmoid`, which stay in the blocked layout"
    " (exact for all float32): no gain, the convolutions took as long as comparing and leaving the layout. As"
    " `HardSigmoid` operators, which stay in it too: 3.02 instead of 3.05 (MobileNetV2), 2.25 instead of 2.26"
    " (ResNet50) with two of them, as subnormal numbers need, and NaN where a comparison says no: not kept. On an"
    " Intel Xeon 1.02 and 1.00 of the time."
)
_LAYOUT = (
    "The layout as a choice at load: without the blocked one 2.56 instead of 2.16 (ResNet50), 4.71 instead of 3.05"
    " (MobileNetV2), 4.74 instead of 2.80 (EfficientNetB0). Comparisons, casts and products moved into the blocked"
    " layout by hand in the optimised graph, as a cache of sessions could: 0.91 of the time of MobileNetV2, 0.98 to"
    " 0.99 of the others; not kept: such a graph is of one processor and one version."
)
_SPREAD_DEPTHWISE = (
    "The same with zeros between the results, written by a `ConvTranspose` with kernels of 1, and one convolution: 0.99"
    " of the time, within what two runs differ by; not kept."
)
_PHASES = (
    "Gradients of strided depthwise convolutions as one convolution for each phase, interleaved by `Concat`, instead of"
    " `ConvTranspose`: kept; 1.24 ms instead of 2.86 for 5x5 kernels, 144 x 28 x 28 numbers and a stride of 2, 3.28"
    " instead of 4.22 for 3x3 and 96 x 56 x 56. Interleaved by `DepthToSpace` or `Transpose` it takes longer than"
    " `ConvTranspose`; zeros between the results and one convolution 1.54 and 3.44 ms."
)
_PARTS = (
    "Wide images in parts of their channels that stay in a core's cache: kept, on an Intel Xeon 0.88 to 0.94 of the"
    " time of MobileNetV2 and 0.90 to 0.99 of EfficientNetB0."
)
_MAXIMA = (
    "Where the maxima of 64 x 114 x 114 numbers are, from comparisons with the maxima of parts of each window instead"
    " of the operator's indices: 8.4 ms instead of 8.7 with the scatter, on an Intel Xeon; not kept."
)
_GELU = (
    "Gelu in the order that ONNX Runtime fuses, with `erf` once more for the derivative: kept, on an Intel Xeon value"
    " and gradient take 0.99 (ConvNeXtTiny) and 0.98 (transformer) of the time, the value alone, which is the floor,"
    " 0.85 and 0.94."
)
_TILES = "Gradients of pooling by tiles with `Resize` instead of `Expand`: kept, 6.5 ms became 0.1 in DenseNet121."
_STATES = (
    "ONNX's operator returns the states and not the gates, of which the derivative needs those of all steps: with few"
    " rows they are computed once more from its states, with many by a loop that collects them; then the steps are"
    " gone through backwards by another loop (`Scan` {share[Scan]}, `Mul` {share[Mul]}, `Gemm` {share[Gemm]})."
)
_COMPILED = "Each step of a loop starts its nodes, at a microsecond or more each; XLA compiles the whole loop."
_REVERSE = (
    "The reverse loop as three nodes (the state ten times beside itself, times coefficients, times one constant matrix"
    " of 640 x 128): 1194 us for 200 steps of LSTM(64) at batch 1 and 12.5 ms at batch 32, where the loop of six nodes"
    " takes 778 us and 4.0 ms. Not kept.",
    "The cells by an `LSTM` operator with linear activations: 406 us at batch 1 and 12.6 ms at batch 32, where a loop"
    " of two nodes takes 251 us and 0.75 ms. Not kept.",
)
_CHUNKS = "The cells in chunks that run at once: kept for long sequences, 0.94 to 0.96 of the time with 200 steps."
_COLLECTED = (
    "Gates, cells and their products collected by the loop instead of computed once more for all steps after it: kept"
    " for many rows, 0.89 to 0.94 of the time at batch 32."
)
_ONE_MORE_ROW = "The bias of the inputs as one more row of their weights: kept, 0.96 of the time at batch 32."
_TURNED = (
    "Backwards, a masked loop meets the steps that do not count first: what it sees is turned around for the operator,"
    " and zeros where a step does not count need no loop over the cells: kept, on an Intel Xeon (AVX-512) the value 3.6"
    " to 1.7 times the operator's at batch 1 and 1.8 to 1.4 at batch 32, in a file of its own and in one with the"
    " gradient."
)
_MASK_FACTORS = (
    "Masks of a backward step as factors of its rows instead of `Where`, 7 operators a step instead of 14, and the loop"
    " as it was where a number is not finite: kept, value and gradient 25 to 14.4 times the operator's value at batch 1"
    " and 5.9 to 5.2 at batch 32, on an Intel Xeon."
)
_BOTH_AT_ONCE = (
    "The backward loops of both directions as one (Intel Xeon), their states beside each other with block matrices,"
    " half of the operators: kept for one or two rows, 14.8 to 12.4 times the operator's value at batch 1; 1.0 of the"
    " time for 4 rows, and the loops alone take 1.7 of it for 32. As batched products of three axes 0.76 of the time"
    " of the loops for one row, where block matrices take 0.66. Both bodies side by side in each step: 0.91 to 1.0; not"
    " kept.",
    "A masked step as three nodes (the state five times, times coefficients, times one matrix of 320 x 64): 0.9 of the"
    " time of seven nodes at batch 1 without what computes the coefficients, 1.5 at 32. Not kept.",
    "The operator and the gates once more instead of the loop that collects them at batch 32: 1.1 of the time.",
)
_GRU_STEP = (
    "A backward step of 4 nodes (the state beside itself, times coefficients of all steps, and one `Gemm`) instead of"
    " 15: kept, 1098 to 527 us at batch 1."
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
            _GELU,
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
            _MASKS,
            _PHASES,
            _SPREAD_DEPTHWISE,
            _PARTS,
            "The mask by the sign of `y * (6 - y)` (3.6 ms for 96 x 112 x 112), by one comparison of it (2.2), by `Mod`"
            " (9.5) or `Where` (6.6): two comparisons (2.1) were fastest. One comparison and a cast to bool: 72 us"
            " instead of 150 for the first one; no difference in the whole call (3.05, 3.06 before).",
            _LAYOUT,
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
            _PHASES,
            _SPREAD_DEPTHWISE,
            _PARTS,
            "The gates of squeeze and excitation repeated by `Resize`, which has a blocked kernel: 1.03 of the time.",
            "Sums of the gates' gradients as `GlobalAveragePool`, which has a blocked kernel: 1 %, not kept.",
            _LAYOUT,
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
            _LAYOUT,
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
            _TILES,
            _MAXIMA,
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
            _GELU,
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
            _MAXIMA,
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
    Cause("lstm", (1, 32), _STATES, (*_REVERSE, _CHUNKS, _COLLECTED, _ONE_MORE_ROW), _COMPILED),
    Cause("lstm_48", (1, 32), _STATES, (*_REVERSE, _COLLECTED, _ONE_MORE_ROW), _COMPILED),
    Cause("gru_48", (1, 32), _STATES, (_GRU_STEP, _COLLECTED, _ONE_MORE_ROW), _COMPILED),
    Cause(
        "bidirectional",
        (1, 32),
        _STATES,
        (_MASK_FACTORS, *_BOTH_AT_ONCE, *_REVERSE, _COLLECTED, _ONE_MORE_ROW, _TURNED),
        _COMPILED,
    ),
)
