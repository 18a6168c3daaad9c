"""onnx-ad's reverse graph of our forward graph, in ONNX Runtime."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.benchmarks.failures import Refused, told
from tests.benchmarks.work import Work

Call = Callable[..., Any]


def open_onnx_ad(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """Value and gradient; a graph for each batch size, as convolutions need declared sizes.

    Raises:
        Refused: what onnx-ad says.
    """
    import onnx

    if work.kind != "gradient":
        raise Refused(f"onnx-ad has no {work.kind}")
    forward = onnx.load(folder / "forward.pullback" / "evaluate.onnx")
    of_batch = functools.lru_cache(1)(functools.partial(_session, forward, threads))
    of_batch(1)

    def run(x: Any) -> Any:
        session, seed, width = of_batch(len(x))
        cotangent = np.zeros((len(x), width), np.float32)
        cotangent[:, work.component or 0] = 1
        value, slope = session.run(["y", "adj_x"], {"x": x, seed: cotangent})
        return value, slope.reshape(x.shape)  # tensors of more than two axes come as one column

    return run


def _session(forward: Any, threads: int, batch: int) -> tuple[Any, str, int]:
    """The session, the name of its cotangent, and how many outputs a row has."""
    import onnx
    import onnx_ad
    import onnxruntime
    from pullback.backends.sessions import session_options

    fixed = onnx.ModelProto()
    fixed.CopyFrom(forward)
    for value in (*fixed.graph.input, *fixed.graph.output):
        for size in value.type.tensor_type.shape.dim:
            if size.dim_param == "B":
                size.dim_value = batch
    try:
        model = onnx_ad.reverse(onnx.shape_inference.infer_shapes(fixed))
    except Exception as problem:
        raise Refused(f"onnx-ad: {told(problem)}") from problem
    content = model.SerializeToString()
    options = session_options(len(content), threads=threads)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (seed,) = [item.name for item in session.get_inputs() if item.name != "x"]
    (width,) = [item.shape[1] for item in session.get_outputs() if item.name == "y"]
    return session, seed, width
