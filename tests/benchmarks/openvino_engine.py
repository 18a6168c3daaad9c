"""OpenVINO reading the graph of a bundle."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

from tests.benchmarks.bounds import derivative_graph
from tests.benchmarks.failures import Refused
from tests.benchmarks.work import Work

Call = Callable[..., Any]


def open_openvino(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """The whole graph in float32, for the least time of a call; results in the order of the file.

    Raises:
        Refused: with the last line of what OpenVINO says, which has the reason; places in its sources come before.
    """
    import openvino

    path = folder / "openvino.onnx"
    path.write_bytes(derivative_graph(work, folder))
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        compiled = openvino.Core().compile_model(path, "CPU", options)
    except RuntimeError as problem:
        raise Refused(f"OpenVINO: {str(problem).strip().splitlines()[-1]}") from problem
    request = compiled.create_infer_request()
    names = sorted((port.any_name for port in compiled.inputs), key=lambda name: name != "x")

    def run(*arrays: Any) -> list[Any]:
        found = request.infer(dict(zip(names, arrays, strict=True)))
        return [found[port].copy() for port in compiled.outputs]  # the next call writes into the same memory

    return run
