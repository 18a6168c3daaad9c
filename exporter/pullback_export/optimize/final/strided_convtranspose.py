"""Gradients of strided convolutions with one kernel per channel, as convolutions whose results are interleaved.

ONNX Runtime computes such convolutions with channels in blocks, but not their adjoint ``ConvTranspose``, which
multiplies each tap by the whole input and then adds up what falls on the same place
(onnxruntime/core/providers/cpu/nn/conv_transpose.cc). With a stride of ``s`` a result at ``s * q + p`` only sees every
``s``-th tap: for each phase ``p`` a convolution without stride. Measured for 3x3 and 5x5 kernels and strides of 2, it
takes 0.4 to 0.8 of the time; with more channels in a group there is no gain.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from pullback_export.graph.bounds import largest
from pullback_export.graph.dims import Size
from pullback_export.graph.values import Node, Region, Value
from pullback_export.optimize.final.blocked_channels import BLOCK

_MOST = 4  # convolutions in the place of one


@dataclasses.dataclass(frozen=True)
class _Phase:
    """The results ``stride * q + phase`` of one axis: every ``step``-th tap, and padding of the input."""

    first: int
    last: int
    step: int
    before: int
    after: int


def in_phases(graph: Region, node: Node) -> Value | None:
    """A strided ``ConvTranspose`` with one kernel per channel and static sizes, as one convolution for each phase."""
    if node.op_type != "ConvTranspose" or not _is_per_channel(node):
        return None
    x, kernel = node.inputs
    axes = _axes(node)
    if axes is None or x is None or kernel is None or largest(kernel) is None:
        return None
    return _interleaved(graph, x, kernel, axes, ())


def _is_per_channel(node: Node) -> bool:
    if len(node.inputs) != 2 or any(value is None or value.shape is None for value in node.inputs):
        return False
    x, kernel = node.inputs
    assert x is not None and kernel is not None
    channels = x.dims[1]
    if not isinstance(channels, int) or channels % BLOCK or set(node.attributes.get("dilations", [1])) != {1}:
        return False
    return bool(node.attributes.get("group", 1) == channels == kernel.dims[0] and kernel.dims[1] == 1)


def _axes(node: Node) -> list[list[_Phase]] | None:
    """The phases of each spatial axis; None where there are none, too many, or one of them would have to crop."""
    x, kernel = node.inputs
    assert x is not None and kernel is not None
    count = x.rank - 2
    strides: list[int] = node.attributes.get("strides", [1] * count)
    pads = node.attributes.get("pads", [0] * count)
    if not 1 < np.prod(strides) <= _MOST:
        return None
    axes = []
    for axis, stride in enumerate(strides):
        taps, size, result = kernel.dims[2 + axis], x.dims[2 + axis], node.outputs[0].dims[2 + axis]
        phases = [_phase(phase, taps, stride, pads[axis], size, result) for phase in range(stride)]
        if any(phase is None for phase in phases):
            return None
        axes.append([phase for phase in phases if phase is not None])
    return axes


def _phase(phase: int, taps: Size, stride: int, pad: int, size: Size, result: Size) -> _Phase | None:
    """``dx[stride * q + phase]`` is the sum of ``dy[q + (phase + pad - tap) / stride] * kernel[tap]``."""
    if not isinstance(taps, int) or not isinstance(size, int) or not isinstance(result, int) or result % stride:
        return None
    first = (phase + pad) % stride
    if first >= taps:
        return None
    last = first + (taps - 1 - first) // stride * stride
    before = (last - phase - pad) // stride
    after = result // stride - size + (phase + pad - first) // stride
    return _Phase(first, last, stride, before, after) if min(before, after) >= 0 else None


def _interleaved(
    graph: Region, x: Value, kernel: Value, axes: Sequence[Sequence[_Phase]], chosen: tuple[_Phase, ...]
) -> Value:
    """The results of the ``chosen`` phases of the first axes and all phases of the others."""
    if len(chosen) == len(axes):
        pads = [*(phase.before for phase in chosen), *(phase.after for phase in chosen)]
        return graph.emit("Conv", [x, _taps(graph, kernel, chosen)], {"group": x.dims[1], "pads": pads})
    parts = [_interleaved(graph, x, kernel, axes, (*chosen, phase)) for phase in axes[len(chosen)]]
    if len(parts) == 1:
        return parts[0]
    axis = 2 + len(chosen)
    batch, *sizes = parts[0].dims
    before, after = sizes[:axis], sizes[axis:]
    apart = [_reshaped(graph, part, batch, [*before, 1, *after]) for part in parts]
    whole = graph.emit("Concat", apart, {"axis": axis + 1})
    return _reshaped(graph, whole, batch, [*before[:-1], before[-1] * len(parts), *after])


def _taps(graph: Region, kernel: Value, chosen: Sequence[_Phase]) -> Value:
    """The taps of the ``chosen`` phases, the last one first."""
    bounds = [
        [phase.last for phase in chosen],
        [phase.first - 1 if phase.first else -(2**62) for phase in chosen],
        list(range(2, 2 + len(chosen))),
        [-phase.step for phase in chosen],
    ]
    return graph.emit("Slice", [kernel, *(graph.constant(np.array(item, np.int64)) for item in bounds)])


def _reshaped(graph: Region, value: Value, batch: Size, sizes: Sequence[Size]) -> Value:
    """With these sizes behind the batch axis, which may be empty."""
    result = graph.emit("Reshape", [value, graph.constant(np.array([0, *sizes], np.int64))])
    result.refine((batch, *sizes))
    return result
