"""The machine's limit counts what a call multiplies, loops and branches as they run, and each byte once."""

from __future__ import annotations

import dataclasses
import pathlib
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.benchmarks import bounds, work
from tests.benchmarks.by_hand import by_hand

FLOAT = onnx.TensorProto.FLOAT


def write(folder: pathlib.Path, content: bytes) -> pathlib.Path:
    bundle = folder / "derivative.pullback"
    bundle.mkdir()
    (bundle / "evaluate.onnx").write_bytes(content)
    return folder


def graph(nodes: list[Any], shape: tuple[int, ...], **weights: Any) -> bytes:
    x = helper.make_tensor_value_info("x", FLOAT, ["B", *shape])
    y = helper.make_tensor_value_info("y", FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()]
    made = helper.make_graph(nodes, "products", [x], [y], stored)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8).SerializeToString()


def zeros(*shape: int) -> Any:
    return np.zeros(shape, np.float32)


def branch(name: str, width: int) -> Any:
    """A product of ``(B, 3)`` with so many columns that are constants of the branch."""
    constant = helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(zeros(3, width)))
    product = helper.make_node("MatMul", ["x", "w"], [name])
    result = helper.make_tensor_value_info(name, FLOAT, None)
    return helper.make_graph([constant, product], name, [], [result])


def loop() -> Any:
    """A step multiplies a state of ``(B, 3)``."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["before", "w"], ["after"]), helper.make_node("Add", ["after", "step"], ["out"])],
        "body",
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("before", "step")],
        [helper.make_tensor_value_info(name, FLOAT, None) for name in ("after", "out")],
    )
    steps = helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2])
    first = helper.make_node("Gather", ["steps", "zero"], ["first"], axis=0)
    return [steps, first, helper.make_node("Scan", ["first", "steps"], ["last", "y"], num_scan_inputs=1, body=body)]


@pytest.mark.parametrize(
    ("shape", "content", "flops", "weights"),
    [
        ((3,), graph([helper.make_node("MatMul", ["x", "w"], ["y"])], (3,), w=zeros(3, 4)), 24, 48),
        ((3,), graph([helper.make_node("Gemm", ["x", "w"], ["y"], transB=1)], (3,), w=zeros(4, 3)), 24, 48),
        (
            (4, 5, 5),
            graph([helper.make_node("Conv", ["x", "w"], ["y"], group=2)], (4, 5, 5), w=zeros(6, 2, 3, 3)),
            2 * (6 * 3 * 3) * (2 * 3 * 3),
            4 * 108,
        ),
        (
            (4, 5, 5),
            graph([helper.make_node("ConvTranspose", ["x", "w"], ["y"])], (4, 5, 5), w=zeros(4, 6, 3, 3)),
            2 * (4 * 5 * 5) * (6 * 3 * 3),
            4 * 216,
        ),
        ((7, 3), graph(loop(), (7, 3), w=zeros(3, 3), zero=np.int64(0)), 7 * 18, 36 + 8),
        (
            (3,),
            graph(
                [helper.make_node("If", ["c"], ["y"], then_branch=branch("a", 2), else_branch=branch("b", 8))],
                (3,),
                c=np.array(True),
            ),
            12,
            1,
        ),
    ],
    ids=["MatMul", "Gemm", "Conv", "ConvTranspose", "Scan", "If"],
)
@pytest.mark.parametrize("batch", [1, 2, 2048])
def test_products_are_counted(
    shape: tuple[int, ...], content: bytes, flops: int, weights: int, batch: int, tmp_path: pathlib.Path
) -> None:
    item = dataclasses.replace(work.row("bowl"), shape=shape)
    found = bounds.count(item, write(tmp_path, content), batch)
    assert found.flops == flops * batch
    assert found.moved > weights + batch * 4 * np.prod(shape)


def test_of_a_product_what_else_its_file_gives_is_not_counted(tmp_path: pathlib.Path) -> None:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["hvp"]), helper.make_node("MatMul", ["hvp", "w"], ["y"])]
    model = onnx.load_from_string(graph(nodes, (3,), w=zeros(3, 3)))
    model.graph.output.insert(0, helper.make_tensor_value_info("hvp", FLOAT, None))
    model.graph.input.append(helper.make_tensor_value_info("fwd_x", FLOAT, ["B", 3]))
    write(tmp_path, b"")
    (tmp_path / "derivative.pullback" / "hvp.onnx").write_bytes(model.SerializeToString())
    item = dataclasses.replace(work.row("hvp"), shape=(3,))
    assert bounds.count(item, tmp_path, 2).flops == 2 * 18


@pytest.mark.parametrize(("kind", "gates"), [("LSTM", 4), ("GRU", 3), ("SimpleRNN", 1)])
def test_recurrent_operators_are_counted(kind: str, gates: int, tmp_path: pathlib.Path) -> None:
    units, steps, features = 5, 6, 2
    model = work.recurrent(kind, units, steps, features)()
    item = dataclasses.replace(work.row("bowl"), shape=(steps, features))
    found = bounds.count(item, write(tmp_path, by_hand(model)), 3)
    assert found.flops == 3 * (2 * steps * gates * units * (units + features) + 2 * units)


def test_a_copy_moves_as_many_bytes(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copied = []
    monkeypatch.setattr(bounds, "count", lambda work, folder, batch: bounds.Bound(0.0, 1000 * batch))
    monkeypatch.setattr(np, "copyto", lambda to, of: copied.append(to.nbytes + of.nbytes))
    copy = bounds.open_copy(work.row("bowl"), tmp_path, 1)
    for batch in (1, 7, 7):
        copy(np.zeros((batch, 1), np.float32))
    assert copied == [1000, 7000, 7000]
