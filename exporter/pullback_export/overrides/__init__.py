"""Temporary changes of TensorFlow and Keras; each file says which defect it works around.

:func:`overrides` is the one context in which models are traced and their reference is computed. A new change takes one
file here, one row in ``OVERRIDES``, and one program in ``tests/exporter/overrides/defects.py`` that says whether the
installed TensorFlow or Keras still has the defect: where it no longer has, a test fails, and the file and its row go.
(:mod:`~pullback_export.overrides.time_distributed` has no row: it holds for traces of Keras models at inference only.)
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from pullback_export.overrides.batched_product import equal_batches
from pullback_export.overrides.block_lstm_gradient import own_gate_order
from pullback_export.overrides.convolutions.dilated_convolution import kernels_with_zeros
from pullback_export.overrides.convolutions.empty_convolution import checked_sizes
from pullback_export.overrides.convolutions.grouped_convolution import compiled_once
from pullback_export.overrides.cumulative_logsumexp import twice_differentiable_logsumexp
from pullback_export.overrides.dropped_gradients import complete_gradients
from pullback_export.overrides.indexed_slices import dense_gradients
from pullback_export.overrides.known_sizes import compared_sizes
from pullback_export.overrides.missing_partials import named_partials
from pullback_export.overrides.no_kernel_gradient import input_gradients
from pullback_export.overrides.rounded_constants import exact_constants
from pullback_export.overrides.silent_gradients import kept_gradients
from pullback_export.overrides.strided_1x1_convolution import safe_convolution

Override = Callable[[], contextlib.AbstractContextManager[None]]

# In the order in which they are entered: a later one sees what the ones before it have put in place.
OVERRIDES: tuple[Override, ...] = (
    compared_sizes,
    equal_batches,
    kernels_with_zeros,
    checked_sizes,
    compiled_once,
    safe_convolution,
    input_gradients,
    own_gate_order,
    complete_gradients,
    kept_gradients,
    twice_differentiable_logsumexp,
    exact_constants,
    dense_gradients,
    named_partials,
)


@contextlib.contextmanager
def overrides() -> Iterator[None]:
    """Within it every change of ``OVERRIDES`` holds, in all threads; the last one to leave takes them back."""
    with contextlib.ExitStack() as stack:
        for override in OVERRIDES:
            stack.enter_context(override())
        yield
