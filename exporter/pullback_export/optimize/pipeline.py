"""Every rewrite there is, in the order in which they are applied, with its reason and the test that counts it.

A new one takes a function of the signature in :mod:`~pullback_export.optimize.rewrite`, a row here, and its test.
Local rewrites are exact for all values and sizes. Final ones may change the last place of a result, and say so.
"""

from __future__ import annotations

from collections.abc import Callable

from pullback_export.graph.graph import Graph
from pullback_export.graph.pruning import prune
from pullback_export.optimize.final.blocked_channels import blocked_scalar
from pullback_export.optimize.final.channel_factors import affine_channels, factor_before_mask
from pullback_export.optimize.final.common_factor import factor_taken_out, from_known_product
from pullback_export.optimize.final.cropped_convtranspose import cropped
from pullback_export.optimize.final.engine import rewrite
from pullback_export.optimize.final.fused_gelu import fused_gelu
from pullback_export.optimize.final.hard_swish import hard_swish
from pullback_export.optimize.final.hessian_seeds import seeds_apart
from pullback_export.optimize.final.matmul_add import sum_in_product
from pullback_export.optimize.final.products import in_order, into_weights
from pullback_export.optimize.final.scan_bodies import tighten
from pullback_export.optimize.final.single_column import as_row
from pullback_export.optimize.final.spread_pixels import spread_late
from pullback_export.optimize.final.strided_convtranspose import in_phases
from pullback_export.optimize.local.gathered_strings import one_by_one
from pullback_export.optimize.local.identities import shrunk, simplify
from pullback_export.optimize.local.repeated_rows import before_expansion
from pullback_export.optimize.local.signs_and_factors import regrouped
from pullback_export.optimize.local.transposes import after_rearrangement
from pullback_export.optimize.normalization.layer_norm import layer_norm
from pullback_export.optimize.normalization.scale_first import scale_first
from pullback_export.optimize.recurrent.fused import fused
from pullback_export.optimize.recurrent.linear_steps import linear_steps
from pullback_export.optimize.recurrent.masked_steps import masked_steps
from pullback_export.optimize.recurrent.pairs import pairs
from pullback_export.optimize.rewrite import Final, Local, Row

_COUNTS = "tests/exporter/optimize/test_counts.py"

# At emission, for each operator in this order; the first that returns a value ends the search.
LOCAL: tuple[Row[Local], ...] = (
    Row(
        "one_by_one",
        one_by_one,
        "ONNX Runtime gathers rows of strings wrongly, and single strings rightly",
        "tests/exporter/optimize/test_gathered_strings.py::test_rows_of_strings",
    ),
    Row(
        "shrunk",
        shrunk,
        "operands that broadcasting repeats anyway are not repeated before",
        f"{_COUNTS}::test_rewrite",
    ),
    Row(
        "simplify", simplify, "an operator that changes nothing, or is another, simpler one", f"{_COUNTS}::test_rewrite"
    ),
    Row("regrouped", regrouped, "signs and factors join the operators next to them", f"{_COUNTS}::test_rewrite"),
    Row(
        "before_expansion",
        before_expansion,
        "what is the same in every row is computed for one row",
        f"{_COUNTS}::test_graph_is_as_small_as_it_was",
    ),
    Row(
        "after_rearrangement",
        after_rearrangement,
        "transposes and reshapes move behind their readers, where they meet and vanish",
        f"{_COUNTS}::test_rewrite",
    ),
)

# On whole loops, before the rewrites of single nodes.
LOOPS: tuple[Row[Callable[[Graph], None]], ...] = (
    Row(
        "tighten",
        tighten,
        "each operator in a step costs a microsecond: states, rows and sums are joined",
        "tests/exporter/optimize/test_scan_steps.py::test_operators_of_a_step",
    ),
    Row(
        "fused",
        fused,
        "an operator for LSTM, GRU and simple cells takes a fifth of the time of the loop",
        "tests/exporter/optimize/test_recurrent.py::test_operator_in_the_place_of_a_loop",
    ),
    Row(
        "masked_steps",
        masked_steps,
        "masks of a backward step join its factors: a masked LSTM's has 7 operators, not 14",
        "tests/exporter/optimize/test_masked_steps.py::test_operators_of_a_step",
    ),
    Row(
        "linear_steps",
        linear_steps,
        "what a step scales its state by is known for all steps: a GRU's backward step has 4 operators, not 15",
        "tests/exporter/optimize/test_scan_steps.py::test_operators_of_a_step",
    ),
    Row(
        "pairs",
        pairs,
        "of few rows both directions of a layer go back in one loop: half of the operators",
        "tests/exporter/optimize/test_pairs.py::test_one_loop_for_few_rows",
    ),
)

# On the finished graph, one after the other over all nodes.
FINAL: tuple[Row[Final], ...] = (
    Row(
        "layer_norm",
        layer_norm,
        "a layer normalisation is one operator, two passes over memory instead of nine",
        "tests/exporter/optimize/test_layer_norm.py::test_operators",
    ),
    Row(
        "from_known_product",
        from_known_product,
        "s + y t for s (1 + x t) where y = s x is known",
        f"{_COUNTS}::test_final_rule",
    ),
    Row(
        "factor_taken_out", factor_taken_out, "g (a + b) for g a + g b: one product less", f"{_COUNTS}::test_final_rule"
    ),
    Row(
        "scale_first",
        scale_first,
        "the scale of a layer normalisation joins the weights in front of its derivative: two products less",
        "tests/exporter/optimize/test_layer_norm.py::test_operators",
    ),
    Row(
        "in_order",
        in_order,
        "small factors are multiplied first, and what seeds share once",
        f"{_COUNTS}::test_what_seeds_share_is_multiplied_once",
    ),
    Row("into_weights", into_weights, "a factor for each column joins the weights", f"{_COUNTS}::test_final_rule"),
    Row(
        "seeds_apart",
        seeds_apart,
        "the last step of a Hessian is a product of known matrices",
        f"{_COUNTS}::test_final_rule",
    ),
    Row("as_row", as_row, "a product with one column is 2 to 3 times as fast as a row", f"{_COUNTS}::test_final_rule"),
    Row(
        "sum_in_product",
        sum_in_product,
        "a @ b + c is one Gemm: one pass over memory less",
        f"{_COUNTS}::test_final_rule",
    ),
    Row(
        "factor_before_mask",
        factor_before_mask,
        "the factor of a BatchNormalization passes a mask and joins a kernel: one product less",
        f"{_COUNTS}::test_final_rule",
    ),
    Row(
        "affine_channels",
        affine_channels,
        "BatchNormalization of joined channels keeps ONNX Runtime's blocked layout as a convolution",
        f"{_COUNTS}::test_final_rule",
    ),
    Row("cropped", cropped, "a ConvTranspose does not compute what is cut off after it", f"{_COUNTS}::test_final_rule"),
    Row(
        "in_phases",
        in_phases,
        "a strided ConvTranspose per channel is 0.4 to 0.8 of the time as convolutions",
        "tests/exporter/optimize/test_phases.py::test_phases_are_the_adjoint",
    ),
    Row(
        "spread_late",
        spread_late,
        "after a strided 1x1 convolution three of four places of the gradient are zero: they are not computed",
        "tests/exporter/optimize/test_convolutional.py::test_operators",
    ),
    Row(
        "hard_swish",
        hard_swish,
        "hard swish of a convolution as HardSigmoid, which keeps the blocked layout, and its derivative from its value",
        "tests/exporter/optimize/test_convolutional.py::test_operators",
    ),
    Row(
        "blocked_scalar",
        blocked_scalar,
        "steps between convolutions keep ONNX Runtime's blocked layout",
        f"{_COUNTS}::test_scalar_between_convolutions_is_a_convolution",
    ),
    Row(
        "fused_gelu",
        fused_gelu,
        "gelu in the order that ONNX Runtime fuses: the value of a ConvNeXt takes 0.85 of the time",
        "tests/exporter/optimize/test_gelu.py::test_gelu_is_fused",
    ),
)


def new_graph() -> Graph:
    """An empty graph that applies the local rewrites."""
    return Graph(rewrites=tuple(row.apply for row in LOCAL))


def finish(graph: Graph) -> None:
    """Applies the rewrites of loops and the final ones to a graph with its outputs."""
    prune(graph)
    for loops in LOOPS:
        loops.apply(graph)
        prune(graph)
    for final in FINAL:
        rewrite(graph, final.apply)
