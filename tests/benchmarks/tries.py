"""What was tried for more than one row of the benchmarks, and what it gave; see :mod:`tests.benchmarks.cause_texts`."""

from __future__ import annotations

POINTWISE = (
    "Gradients of strided 1x1 convolutions as one `ConvTranspose` instead of a convolution and zeros between its"
    " results: kept; ResNet50 went from 2.6 to 2.3 times its forward pass. Only the places that are not zero computed,"
    " through sums, masks and 1x1 convolutions, and spread where zeros are needed: kept, 2.28 became 2.16."
)
MASKS = (
    "Masks as convolutions with one kernel per channel and a steep `HardSigmoid`, which stay in the blocked layout"
    " (exact for all float32): no gain, the convolutions took as long as comparing and leaving the layout. As"
    " `HardSigmoid` operators, which stay in it too: 3.02 instead of 3.05 (MobileNetV2), 2.25 instead of 2.26"
    " (ResNet50) with two of them, as subnormal numbers need, and NaN where a comparison says no: not kept. On an"
    " Intel Xeon 1.02 and 1.00 of the time."
)
LAYOUT = (
    "The layout as a choice at load: without the blocked one 2.56 instead of 2.16 (ResNet50), 4.71 instead of 3.05"
    " (MobileNetV2), 4.74 instead of 2.80 (EfficientNetB0). Comparisons, casts and products moved into the blocked"
    " layout by hand in the optimised graph, as a cache of sessions could: 0.91 of the time of MobileNetV2, 0.98 to"
    " 0.99 of the others; not kept: such a graph is of one processor and one version."
)
SPREAD_DEPTHWISE = (
    "The same with zeros between the results, written by a `ConvTranspose` with kernels of 1, and one convolution: 0.99"
    " of the time, within what two runs differ by; not kept."
)
PHASES = (
    "Gradients of strided depthwise convolutions as one convolution for each phase, interleaved by `Concat`, instead of"
    " `ConvTranspose`: kept; 1.24 ms instead of 2.86 for 5x5 kernels, 144 x 28 x 28 numbers and a stride of 2, 3.28"
    " instead of 4.22 for 3x3 and 96 x 56 x 56. Interleaved by `DepthToSpace` or `Transpose` it takes longer than"
    " `ConvTranspose`; zeros between the results and one convolution 1.54 and 3.44 ms."
)
PARTS = (
    "Wide images in parts of their channels that stay in a core's cache: not kept any more. On an Intel Xeon, of the"
    " time without, with one thread 0.93 and 0.97 (MobileNetV2, two runs), 0.94 and 0.97 (EfficientNetB0), but with two"
    " threads that do not spin, as sessions are opened, 1.08 and 1.07: a third more operators wake a thread each. Parts"
    " of half the size gave 0.90 and 0.91, 0.87 and 0.93 with one."
)
MAXIMA = (
    "Where the maxima of 64 x 114 x 114 numbers are, from comparisons with the maxima of parts of each window instead"
    " of the operator's indices: 8.4 ms instead of 8.7 with the scatter, on an Intel Xeon; not kept."
)
GELU = (
    "Gelu in the order that ONNX Runtime fuses, with `erf` once more for the derivative: kept, on an Intel Xeon value"
    " and gradient take 0.99 (ConvNeXtTiny) and 0.98 (transformer) of the time, the value alone, which is the floor,"
    " 0.85 and 0.94."
)
TILES = "Gradients of pooling by tiles with `Resize` instead of `Expand`: kept, 6.5 ms became 0.1 in DenseNet121."
REVERSE = (
    "The reverse loop as three nodes (the state ten times beside itself, times coefficients, times one constant matrix"
    " of 640 x 128): 1194 us for 200 steps of LSTM(64) at batch 1 and 12.5 ms at batch 32, where the loop of six nodes"
    " takes 778 us and 4.0 ms. Not kept.",
    "The cells by an `LSTM` operator with linear activations: 406 us at batch 1 and 12.6 ms at batch 32, where a loop"
    " of two nodes takes 251 us and 0.75 ms. Not kept.",
)
CHUNKS = "The cells in chunks that run at once: kept for long sequences, 0.94 to 0.96 of the time with 200 steps."
COLLECTED = (
    "Gates, cells and their products collected by the loop instead of computed once more for all steps after it: kept"
    " for many rows, 0.89 to 0.94 of the time at batch 32."
)
ONE_MORE_ROW = "The bias of the inputs as one more row of their weights: kept, 0.96 of the time at batch 32."
TURNED = (
    "Backwards, a masked loop meets the steps that do not count first: what it sees is turned around for the operator,"
    " and zeros where a step does not count need no loop over the cells: kept, on an Intel Xeon (AVX-512) the value 3.6"
    " to 1.7 times the operator's at batch 1 and 1.8 to 1.4 at batch 32, in a file of its own and in one with the"
    " gradient."
)
MASK_FACTORS = (
    "Masks of a backward step as factors of its rows instead of `Where`, 7 operators a step instead of 14, and the loop"
    " as it was where a number is not finite: kept, value and gradient 25 to 14.4 times the operator's value at batch 1"
    " and 5.9 to 5.2 at batch 32, on an Intel Xeon."
)
BOTH_AT_ONCE = (
    "The backward loops of both directions as one (Intel Xeon), their states beside each other with block matrices,"
    " half of the operators: kept for one or two rows, 14.8 to 12.4 times the operator's value at batch 1; 1.0 of the"
    " time for 4 rows, and the loops alone take 1.7 of it for 32. As batched products of three axes 0.76 of the time"
    " of the loops for one row, where block matrices take 0.66. Both bodies side by side in each step: 0.91 to 1.0; not"
    " kept.",
    "A masked step as three nodes (the state five times, times coefficients, times one matrix of 320 x 64): 0.9 of the"
    " time of seven nodes at batch 1 without what computes the coefficients, 1.5 at 32. Not kept.",
    "The operator and the gates once more instead of the loop that collects them at batch 32: 1.1 of the time.",
)
GRU_STEP = (
    "A backward step of 4 nodes (the state beside itself, times coefficients of all steps, and one `Gemm`) instead of"
    " 15: kept, 1098 to 527 us at batch 1."
)
LAYER_NORM = (
    "Layer normalisation as ONNX's operator, its scale in the weights in front of the derivative: kept. On an Intel"
    " Xeon a trained transformer's value takes 0.91 to 0.94 of the time, value and gradient 0.96 to 0.97, with scales"
    " of one 0.96 to 1.02; in ConvNeXtTiny, where 4 of 23 have their channels last, 0.96 and 0.98."
)
FEW_ROWS = (
    "Batches in chunks of as many rows as fit the cache, or more where weights are large (`python -m"
    " tests.benchmarks.wide_rows`): kept. Eight rows on an idle Intel Xeon: MobileNetV2 0.82 of the time, DenseNet121"
    " 0.89, a transformer 0.91, ResNet50 0.93, a U-Net 1.00, EfficientNetB0 1.02 (0.83 to 0.89 beside other processes)."
)
FIRST_KERNEL = (
    "The gradient of a strided convolution as one convolution for all phases and `DepthToSpace`, on an Intel Xeon: 12.2"
    " ms instead of 10.2 for the 7x7 kernels behind the image, 1.3 to 2.9 times as long for 3x3 kernels of 64 to 512"
    " channels; not kept."
)
