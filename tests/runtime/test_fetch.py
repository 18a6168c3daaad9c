"""``fetch``: only what leads to the requested results, in a smaller graph; the same numbers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pullback
import pytest
from pullback import function
from pullback.backends import onnx as backend
from pullback.bundle import Bundle
from pullback.errors import BundleError
from pullback.storage import wire
from pullback.storage.onnx_cut import cut

GOLDEN = Path(__file__).parents[1] / "golden" / "v1"
BUNDLES = sorted(path.name for path in GOLDEN.iterdir())


@pytest.mark.parametrize("name", BUNDLES)
def test_every_choice_of_results_gives_the_same_numbers(name: str) -> None:
    bundle = pullback.load(GOLDEN / name)
    for call in bundle.functions.values():
        given = inputs(call.spec)
        whole = call(**given)._asdict()
        for names in choices(tuple(whole)):
            for key, array in call(**given, fetch=names)._asdict().items():
                scale = float(np.abs(whole[key]).max(initial=0))
                bound = scale * (1e-5 if array.dtype == np.float32 else 1e-12)
                np.testing.assert_allclose(array, whole[key], rtol=0, atol=bound, err_msg=f"{call.spec.name} {names}")


@pytest.mark.parametrize("name", BUNDLES)
def test_one_result_takes_fewer_nodes(name: str) -> None:
    content = (GOLDEN / name / "evaluate.onnx").read_bytes()
    names = [tensor.name for tensor in pullback.load(GOLDEN / name).functions["evaluate"].spec.outputs]
    whole = list(nodes(content))
    parts = [list(nodes(cut(content, {key}, name))) for key in names]
    assert set().union(*parts) == set(whole)
    assert len(parts[0]) < len(whole) or len(names) == 1  # the others may need all of it
    assert list(nodes(cut(content, names, name))) == whole


def test_what_a_loop_reads_from_outside_stays() -> None:
    """``y`` is a loop whose body reads ``k``, a constant, and ``s``, the result of a node; ``z`` reads neither."""
    content = cut(LOOP, {"y"}, "loop")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": np.array([2.0], np.float32)})
    assert y.tolist() == [2.0 + 3 * (4.0 + 5.0)]
    assert len(list(nodes(content))) == 2
    assert len(list(nodes(cut(LOOP, {"z"}, "loop")))) == 1


def test_damaged_file_is_refused() -> None:
    with pytest.raises(BundleError, match="truncated or damaged"):
        cut(LOOP[:-3], {"y"}, "loop")


def test_few_sessions_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a session that was dropped is made again, in the next call."""
    monkeypatch.setattr(backend, "KEPT_PARTS", 1)
    monkeypatch.setattr(function, "KEPT_RUNS", 2)
    bundle = pullback.load(GOLDEN / "bowl.pullback")
    y, slope = bundle([[0.5]])
    for _ in range(2):
        np.testing.assert_allclose(bundle([[0.5]], fetch=["y"]).y, y, rtol=1e-6)
        np.testing.assert_allclose(bundle([[0.5]], fetch=["dy_dx"]).dy_dx, slope, rtol=1e-6)
    for spelling in [("y",), "y", *(tuple(order) for order in itertools.permutations(("y", "dy_dx")))] * 4:
        bundle([[0.5]], fetch=spelling)
    assert isinstance(bundle, Bundle)
    assert len(bundle.functions["evaluate"]._runs) <= function.KEPT_RUNS + 1
    assert len(bundle._onnx()._parts) == 1


def inputs(spec: Any) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    sizes = [[size if isinstance(size, int) else 3 for size in tensor.shape] for tensor in spec.inputs]
    return {t.name: rng.normal(size=size).astype(t.dtype) for t, size in zip(spec.inputs, sizes, strict=True)}


def choices(names: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Each alone, and each pair, backwards."""
    return [(name,) for name in names] + [pair[::-1] for pair in itertools.combinations(names, 2)]


def nodes(content: bytes) -> Iterator[bytes]:
    """The nodes of the main graph of a file, as bytes."""
    for number, _, value in wire.fields(memoryview(content), "file"):
        if number == 7:
            for field, _, node in wire.fields(wire.message(value, "file"), "file"):
                if field == 1:
                    yield bytes(wire.message(node, "file"))


def field(number: int, value: bytes | int | str) -> bytes:
    """A field of a protobuf message: the test needs no ``onnx``."""
    if isinstance(value, int):
        return wire.encoded(number, wire.VARINT, value)
    return wire.encoded(number, wire.BYTES, value.encode() if isinstance(value, str) else value)


def node(op_type: str, reads: str, gives: str, *attributes: bytes) -> bytes:
    names = b"".join(field(1, name) for name in reads.split()) + b"".join(field(2, name) for name in gives.split())
    return field(1, names + field(4, op_type) + b"".join(field(5, item) for item in attributes))


def info(number: int, name: str, code: int, *dims: int) -> bytes:
    shape = b"".join(field(1, field(1, size)) for size in dims)
    return field(number, field(1, name) + field(2, field(1, field(1, code) + field(2, shape))))


def tensor(name: str, code: int, array: Any, *dims: int) -> bytes:
    sizes = b"".join(field(1, size) for size in dims)
    return field(5, sizes + field(2, code) + field(8, name) + field(9, np.asarray(array).tobytes()))


FLOAT, INT64, BOOL = 1, 7, 9
BODY = b"".join(
    (
        node("Add", "k s", "step"),
        node("Add", "state step", "next"),
        node("Identity", "going", "on"),
        field(2, "body"),
        info(11, "i", INT64),
        info(11, "going", BOOL),
        info(11, "state", FLOAT, 1),
        info(12, "on", BOOL),
        info(12, "next", FLOAT, 1),
    )
)
LOOP = field(1, 8) + b"".join(
    (
        field(
            7,
            b"".join(
                (
                    node("Mul", "x x", "s"),
                    node("Neg", "x", "z"),
                    node("Loop", "count yes x", "y", field(1, "body") + field(6, BODY) + field(20, 5)),
                    field(2, "graph"),
                    tensor("k", FLOAT, np.float32(5), 1),
                    tensor("count", INT64, np.int64(3)),
                    tensor("yes", BOOL, np.bool_(True)),
                    info(11, "x", FLOAT, 1),
                    info(12, "y", FLOAT, 1),
                    info(12, "z", FLOAT, 1),
                )
            ),
        ),
        field(8, field(1, "") + field(2, 18)),
    )
)
