"""Evaluate dask arrays block by block; the bundle is sent as path, digest and options and loaded once per worker.

Needs ``pip install "pullback[dask]"``.
"""

from __future__ import annotations

import functools
import pickle
import socket
import threading
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import BundleError, InputError, MissingDependencyError
from pullback.function import result_class
from pullback.manifest import FunctionSpec, TensorSpec


def map_blocks(bundle: Bundle, *arrays: Any, function: str = "evaluate", fetch: Any = None, **named: Any) -> Any:
    """A named tuple of lazy dask arrays, one per result, chunked along the batch like the inputs.

    ``arrays`` are dask arrays of shape ``(B, ...)``, by position or by name as in a call of the bundle. Every
    block is computed once, whichever results are computed together. Workers must find the same bundle at the same
    path.

    Raises:
        InputError: an array does not fit, or the function does not treat every row separately.
    """
    called = bundle.functions[function]
    spec = called.spec
    if not called.spec.rowwise:
        raise InputError(f"{spec.name}: blocks need a batch axis in every input and output; call the bundle itself")
    names = [tensor.name for tensor in spec.inputs]
    given = {**dict(zip(names, arrays, strict=False)), **named}
    if len(arrays) + len(named) != len(names) or set(given) != set(names):
        raise InputError(
            f"{spec.name}: takes {', '.join(names)} once each, got {len(arrays)} by position and {sorted(named)}"
        )
    inputs = [_rows(given[tensor.name], tensor, spec) for tensor in spec.inputs]
    if len({array.chunks[0] for array in inputs}) != 1:
        raise InputError(f"{spec.name}: the inputs must have the same chunks along the batch; use .rechunk")
    wanted = called.fetch_names(fetch)
    return result_class(wanted)(*_outputs(bundle, spec, inputs, wanted))


def _rows(array: Any, tensor: TensorSpec, spec: FunctionSpec) -> Any:
    """``array`` with whole rows in each block."""
    dask_array = _dask_array()
    if not isinstance(array, dask_array.Array):
        raise InputError(f"{spec.name}: input {tensor.name!r} must be a dask array, got {type(array).__name__}")
    fits = array.ndim == len(tensor.shape) and all(
        isinstance(want, str) or want == have for want, have in zip(tensor.shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        raise InputError(f"{spec.name}: input {tensor.name!r} must be {tensor}, got shape {array.shape}")
    return array.rechunk(dict.fromkeys(range(1, array.ndim), -1))


def _outputs(bundle: Bundle, spec: FunctionSpec, inputs: list[Any], wanted: tuple[str, ...]) -> list[Any]:
    """One task per block computes all results, one more per result picks its own."""
    dask_array = _dask_array()
    from dask.delayed import delayed

    evaluate = delayed(evaluate_block, pure=True)
    grids = [array.to_delayed().reshape(-1) for array in inputs]
    names, sent = [tensor.name for tensor in spec.inputs], pickled(bundle)
    blocks = [
        evaluate(sent, spec.name, wanted, dict(zip(names, parts, strict=True))) for parts in zip(*grids, strict=True)
    ]
    free: dict[str, int] = {}
    for array, tensor in zip(inputs, spec.inputs, strict=True):
        free |= {dim: n for dim, n in zip(tensor.shape[1:], array.shape[1:], strict=True) if isinstance(dim, str)}
    tensors = {tensor.name: tensor for tensor in spec.outputs}
    outputs = []
    for i, name in enumerate(wanted):
        shape = tuple(free[dim] if isinstance(dim, str) else dim for dim in tensors[name].shape[1:])
        dtype = np.dtype(tensors[name].dtype)
        parts = [
            dask_array.from_delayed(block[i], (rows, *shape), dtype)
            for block, rows in zip(blocks, inputs[0].chunks[0], strict=True)
        ]
        outputs.append(dask_array.concatenate(parts, axis=0))
    return outputs


def pickled(bundle: Bundle) -> bytes:
    """The data sent to the workers in place of ``bundle``: its path, digest, backend and options."""
    return pickle.dumps(bundle, protocol=4)


def evaluate_block(sent: bytes, function: str, fetch: tuple[str, ...], inputs: dict[str, Any]) -> tuple[Array, ...]:
    """The task of a block, on its worker: the arrays ``fetch`` of ``function`` for arrays by input name."""
    with _loading:
        bundle = _loaded(sent)
    call: Any = bundle.functions[function]
    return tuple(call(**{name: np.asarray(array) for name, array in inputs.items()}, fetch=fetch))


_loading = threading.Lock()  # several threads of a worker begin at once


@functools.lru_cache(maxsize=8)
def _loaded(sent: bytes) -> Bundle:
    """The bundle of this worker."""
    try:
        bundle: Bundle = pickle.loads(sent)
    except BundleError as error:
        raise BundleError(f"on worker {socket.gethostname()}: {error}") from error
    return bundle


def _dask_array() -> Any:
    try:
        import dask.array
    except ImportError as error:
        raise MissingDependencyError('dask arrays need dask: pip install "pullback[dask]"') from error
    return dask.array
