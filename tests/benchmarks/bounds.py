"""What a derivative costs at least on this machine: its matrix products at the peak of ``Gemm``, its bytes as a copy.

The products are those that one call of Pullback's graph runs, loops and branches as they run: ONNX Runtime's profile,
without its optimisations, has the shapes. A kernel that needs fewer multiplications than the definition of its operator
(Winograd's for convolutions) may be faster than this bound.
"""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tests.benchmarks.inputs import draw
from tests.benchmarks.work import Work

Shape = tuple[int, ...]

# Rows are independent of each other: with more of them the products are those of so many, and in proportion.
ROWS = 1024
# Of 128, 256, 512 and 1024 the fastest with one thread: 97, 113, 110 and 100 GFLOP/s on the processor of the page.
SIDE = 256
OF_GEMM = 2.0 * SIDE**3


@dataclasses.dataclass(frozen=True)
class Bound:
    """``flops``: of the matrix products, a multiplication and an addition each; ``moved``: bytes of weights, inputs and
    results, each once."""

    flops: float
    moved: int


def count(work: Work, folder: pathlib.Path, batch: int) -> Bound:
    """Of the derivative at this batch size."""
    import onnx

    model = onnx.load_from_string(derivative_graph(work, folder))
    rows = min(batch, ROWS)
    nodes = dict(_named(model.graph, {}))
    taken, passed = _profile(model, work, rows)
    flops = sum(products(*nodes[name], shapes, results) for name, shapes, results in taken if name in nodes)
    weights = sum(math.prod(item.dims) * _width(item) for item in model.graph.initializer)
    return Bound(flops * batch / rows, weights + passed * batch // rows)


def derivative_graph(work: Work, folder: pathlib.Path) -> bytes:
    """What a call of Pullback runs: of products, whose file gives other results besides, the product alone."""
    import onnx
    from pullback.storage.onnx_cut import cut

    bundle = folder / "derivative.pullback"
    if work.kind != "hvp":
        return (bundle / "evaluate.onnx").read_bytes()
    content = (bundle / "hvp.onnx").read_bytes()
    return cut(content, {onnx.load_from_string(content).graph.output[0].name}, "hvp.onnx")


def _width(weights: Any) -> int:
    import onnx

    return int(onnx.helper.tensor_dtype_to_np_dtype(weights.data_type).itemsize)


def _named(graph: Any, outer: Mapping[str, Shape], prefix: str = "n") -> Iterator[tuple[str, tuple[Any, list[Any]]]]:
    """Gives each node that multiplies a name of its own; the node and the shapes of its inputs that are constant."""
    known = {**outer, **{item.name: tuple(item.dims) for item in graph.initializer}}
    for item in graph.node:
        if item.op_type == "Constant":
            known[item.output[0]] = tuple(item.attribute[0].t.dims)
    for place, node in enumerate(graph.node):
        node.name = f"{prefix}{place}"
        if node.op_type in _FLOPS:
            yield node.name, (node, [known.get(name) for name in node.input if name])
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _named(attribute.g, known, f"{node.name}_{attribute.name}_")


def _profile(model: Any, work: Work, rows: int) -> tuple[list[tuple[str, list[Shape], list[Shape]]], int]:
    """Of each node that ran: name, shapes of inputs that are not constant, of results; bytes of inputs and results."""
    import onnxruntime

    arrays = draw(work, rows)
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_profiling = True
        options.profile_file_prefix = str(pathlib.Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        names = sorted((item.name for item in session.get_inputs()), key=lambda name: name != "x")
        results = session.run(None, dict(zip(names, arrays, strict=True)))
        events = json.loads(pathlib.Path(session.end_profiling()).read_text())
    taken = []
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            shapes = [_shapes(event["args"][key]) for key in ("input_type_shape", "output_type_shape")]
            taken.append((event["name"].removesuffix("_kernel_time"), *shapes))
    return taken, sum(array.nbytes for array in (*arrays, *results))


def _shapes(listed: Sequence[Mapping[str, Sequence[int]]]) -> list[Shape]:
    return [tuple(shape) for item in listed for shape in item.values()]


def products(node: Any, constant: Sequence[Shape | None], given: Sequence[Shape], results: Sequence[Shape]) -> float:
    """Floating-point operations of one run; ``constant``: shapes of the inputs, None where ``given`` has the next."""
    rest = iter(given)
    return _FLOPS[node.op_type](node, [shape if shape is not None else next(rest) for shape in constant], results[0])


def _matmul(node: Any, inputs: Sequence[Shape], result: Shape) -> float:
    return 2.0 * math.prod(result) * inputs[0][-1]


def _gemm(node: Any, inputs: Sequence[Shape], result: Shape) -> float:
    return 2.0 * math.prod(inputs[0]) * result[1]


def _conv(node: Any, inputs: Sequence[Shape], result: Shape) -> float:
    return 2.0 * math.prod(result) * math.prod(inputs[1][1:])


def _conv_transpose(node: Any, inputs: Sequence[Shape], result: Shape) -> float:
    return 2.0 * math.prod(inputs[0]) * math.prod(inputs[1][1:])


def _recurrent(node: Any, inputs: Sequence[Shape], result: Shape) -> float:
    steps, batch = inputs[0][:2]
    return 2.0 * steps * batch * (math.prod(inputs[1]) + math.prod(inputs[2]))


_FLOPS: dict[str, Callable[[Any, Sequence[Shape], Shape], float]] = {
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}


def open_gemm(work: Work, folder: pathlib.Path, threads: int) -> Callable[..., Any]:
    """The product of two square matrices in ONNX Runtime, whatever the inputs."""
    import onnx
    import onnxruntime
    from onnx import helper, numpy_helper
    from pullback.backends.sessions import session_options

    weights = numpy_helper.from_array(np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32), "w")
    a, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [SIDE, SIDE]) for name in "ay")
    graph = helper.make_graph([helper.make_node("Gemm", ["a", "w"], ["y"])], "gemm", [a], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    content = model.SerializeToString()
    options = session_options(len(content), threads=threads)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    feed = {"a": numpy_helper.to_array(weights)}
    return lambda *arrays: session.run(None, feed)


def open_copy(work: Work, folder: pathlib.Path, threads: int) -> Callable[..., Any]:
    """Copies half of the bytes that the derivative moves, as it reads and writes each; few ones stay in the cache."""
    places: dict[int, tuple[Any, Any]] = {}

    def copy(x: Any, *_: Any) -> Any:
        if len(x) not in places:
            places.clear()
            size = max(1, count(work, folder, len(x)).moved // 2)
            places[len(x)] = np.zeros(size, np.uint8), np.ones(size, np.uint8)
        np.copyto(*places[len(x)])
        return (x,)

    return copy
