"""One row times a matrix of ``256 x 256``, in ONNX Runtime and NumPy: ``python -m tests.benchmarks.row_products``.

What a network costs at batch 1 is little else. Microseconds of one product on one thread: medians over calls of a chain
of eight, so that what a call costs by itself hardly counts.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

SIZE, PRODUCTS, CALLS = 256, 8, 3000
TYPES = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def microseconds(call: Callable[[], Any]) -> float:
    """Of one product of the chain."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e6 / PRODUCTS


def in_onnx_runtime(row: Any, matrices: list[Any]) -> Callable[[], Any]:
    """The chain as ``MatMul`` nodes."""
    kind, names = TYPES[str(row.dtype)], [f"v{number}" for number in range(PRODUCTS + 1)]
    nodes = [helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(PRODUCTS)]
    weights = [numpy_helper.from_array(matrix, f"w{i}") for i, matrix in enumerate(matrices)]
    ends = [helper.make_tensor_value_info(name, kind, [1, SIZE]) for name in (names[0], names[-1])]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {names[0]: row})


def in_numpy(row: Any, matrices: list[Any]) -> Callable[[], Any]:
    """The chain as NumPy's ``@``, in the BLAS library that it has."""

    def chain() -> Any:
        value = row
        for matrix in matrices:
            value = value @ matrix
        return value

    return chain


def main() -> None:
    rng = np.random.default_rng(0)
    for dtype in TYPES:
        row = rng.normal(size=(1, SIZE)).astype(dtype)
        matrices = [(rng.normal(size=(SIZE, SIZE)) / SIZE**0.5).astype(dtype) for _ in range(PRODUCTS)]
        for name, made in (("ONNX Runtime", in_onnx_runtime), ("NumPy", in_numpy)):
            print(f"{dtype} {name}: {microseconds(made(row, matrices)):.1f} us")


if __name__ == "__main__":
    main()
