"""An exported function with seeds at a flat point, for one direction or for several at once."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pullback.backends import Array
from pullback.calls.axes import inputs_of
from pullback.errors import InputError
from pullback.flat.layout import Layout
from pullback.function import Function
from pullback.manifest import TensorSpec


def run_directions(
    layout: Layout, function: Function, names: tuple[str, ...], feeds: dict[str, Array], seeds: Mapping[str, Array]
) -> list[Array]:
    """The results for ``k`` directions of ``seeds``, each ``(k, components)``: arrays of shape ``(k, ...)``.

    A function that treats every row alone takes them as one batch; of another each is a run. Feeds of several samples
    have as many directions each, those of the first sample first. Seeds that are not given are zero.
    """
    count = len(next(iter(seeds.values())))
    shaped = {
        tensor.name: _shaped(layout, tensor, seeds.get(tensor.name), count)
        for tensor in inputs_of(function.spec)
        if tensor.name not in feeds
    }
    shared = function.spec.shared_inputs
    if layout.divides(function.spec):
        many = {
            name: feed if name in shared else np.repeat(feed, count // len(feed), 0) for name, feed in feeds.items()
        }
        # Seeds of what the rows share are zero here.
        once = {name: np.zeros(seed.shape[1:], seed.dtype) for name, seed in shaped.items() if name in shared}
        results = list(function.run(names, {**many, **shaped, **once}))
    else:
        runs = []
        for row in range(count):
            alone = {n: seed[row : row + 1] if _has_batch(function, n) else seed[row] for n, seed in shaped.items()}
            runs.append(function.run(names, {**feeds, **alone}))
        results = [np.stack(arrays) for arrays in zip(*runs, strict=True)]
    return [np.reshape(result, (count, -1)) for result in results]


def _shaped(layout: Layout, tensor: TensorSpec, seed: Array | None, count: int) -> Array:
    shape = layout.row_shape(tensor)
    if shape is None:
        raise InputError(
            f"the size of the free axes of {tensor} is not known; specify it: shape={{name of the axis: size}}"
        )
    if seed is None:
        return np.zeros((count, *shape), tensor.dtype)
    return np.ascontiguousarray(seed, tensor.dtype).reshape(count, *shape)


def _has_batch(function: Function, name: str) -> bool:
    return function.spec.batched and name not in function.spec.shared_inputs
