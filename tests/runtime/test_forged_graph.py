"""Every way to smuggle something into an ONNX file; checksums are right, so only the look inside can find it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pullback
import pytest

from tests.runtime import forge
from tests.runtime.forge import GRAPH, INITIALIZER, INPUT, METADATA, OPSET, OUTPUT, SPARSE, field, in_graph, node

EXTERNAL = [field(8, "W2"), field(14, 1), field(13, [field(1, "location"), field(2, "/etc/passwd")])]
TENSOR_ELSEWHERE = b"".join(EXTERNAL)
SECOND_GRAPH = field(GRAPH, [])


def drop(number: int) -> Callable[[bytes], bytes]:
    return lambda content: forge.message([item for item in forge.fields(content) if item[0] != number])


def fixed_batch(tensor: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    shape = forge.field(1, [field(1, 5)]) + forge.field(1, [field(1, 3)])
    return [(n, shape if n == 2 else v) for n, v in tensor]


ATTACKS: list[tuple[str, Callable[[bytes], bytes], str]] = [
    ("custom operator", in_graph(node("Run", "evil")), "operator evil::Run"),
    ("contrib operator", in_graph(node("FusedMatMul", "com.microsoft")), "operator com.microsoft::FusedMatMul"),
    (
        "training operator",
        in_graph(node("Adam", "ai.onnx.preview.training")),
        "operator ai.onnx.preview.training::Adam",
    ),
    (
        "custom domain, then a good one",
        in_graph(field(1, [field(4, "Run"), field(7, "evil"), field(7, "")])),
        "evil::Run",
    ),
    ("custom operator in a branch", in_graph(node("If", attributes=[field(6, node("Run", "evil"))])), "evil::Run"),
    ("custom operator in graphs", in_graph(node("If", attributes=[field(11, node("Run", "evil"))])), "evil::Run"),
    ("graphs nested 40 deep", in_graph(forge.nested(40)), "nested deeper"),
    ("graphs nested 3000 deep", in_graph(forge.nested(3000)), "nested deeper"),
    ("weights elsewhere", in_graph(field(INITIALIZER, EXTERNAL)), "weights in another file"),
    ("weights elsewhere, flag alone", in_graph(field(INITIALIZER, [field(14, 1)])), "weights in another file"),
    ("weights elsewhere, entry alone", in_graph(field(INITIALIZER, EXTERNAL[2:])), "weights in another file"),
    ("weights elsewhere, flag taken back", in_graph(field(INITIALIZER, [field(14, 1), field(14, 0)])), "another file"),
    ("constant elsewhere", in_graph(node("Constant", attributes=[field(5, TENSOR_ELSEWHERE)])), "another file"),
    ("constants elsewhere", in_graph(node("Constant", attributes=[field(10, TENSOR_ELSEWHERE)])), "another file"),
    ("sparse weights elsewhere", in_graph(field(SPARSE, [field(1, TENSOR_ELSEWHERE)])), "another file"),
    ("sparse indices elsewhere", in_graph(field(SPARSE, [field(2, TENSOR_ELSEWHERE)])), "another file"),
    (
        "sparse constant elsewhere",
        in_graph(node("Constant", attributes=[field(22, field(1, TENSOR_ELSEWHERE))])),
        "another file",
    ),
    ("weights elsewhere in a branch", in_graph(node("If", attributes=[field(6, field(5, EXTERNAL))])), "another file"),
    (
        "reference to a function's attribute",
        in_graph(node("Relu", attributes=[field(21, "alpha")])),
        "refers to an enclosing function",
    ),
    ("functions", lambda c: c + field(25, [field(1, "f")]), "functions of its own"),
    ("training information", lambda c: c + field(20, []), "training information"),
    ("two graphs", lambda c: c + SECOND_GRAPH, "2 graphs"),
    ("evil graph merged into the first", lambda c: field(GRAPH, node("Run", "evil")) + c, "evil::Run"),
    ("no graph", drop(GRAPH), "0 graphs"),
    ("custom opset", lambda c: c + field(OPSET, [field(1, "evil"), field(2, 1)]), "operators of 'evil'"),
    ("no metadata", drop(METADATA), "Pullback did not write it"),
    ("metadata twice", lambda c: c + field(METADATA, [field(1, "pullback.function"), field(2, "{}")]), "occurs twice"),
    ("extra input", in_graph(field(INPUT, [field(1, "z")])), "its inputs are x, z"),
    ("extra output", in_graph(field(OUTPUT, [field(1, "z")])), "its outputs are dy_dx, y, z"),
    ("renamed input", forge.rename(INPUT, "x", "z"), "its inputs are z"),
    ("input named to steer a terminal", forge.rename(INPUT, "x", "\n\x1b[2Jz\u202e"), "\\n\\x1b[2Jz\\u202e"),
    ("renamed output", forge.rename(OUTPUT, "y", "z"), "its outputs are dy_dx, z"),
    (
        "input of another dtype",
        forge.retype(INPUT, lambda t: [(n, 11 if n == 1 else v) for n, v in t]),
        "'x' is float64",
    ),
    (
        "input of an unknown dtype",
        forge.retype(INPUT, lambda t: [(n, 99 if n == 1 else v) for n, v in t]),
        "data type 99",
    ),
    ("input of strings", forge.retype(INPUT, lambda t: [(n, 8 if n == 1 else v) for n, v in t]), "'x' is string"),
    ("input of fixed batch", forge.retype(INPUT, fixed_batch), "'x' is float32 (5, 3)"),
    ("input of any shape", forge.retype(INPUT, lambda t: [(n, v) for n, v in t if n == 1]), "any shape"),
    ("output of any shape", forge.retype(OUTPUT, lambda t: [(n, v) for n, v in t if n == 1]), "any shape"),
    ("empty file", lambda c: b"", "0 graphs"),
    ("text", lambda c: b"hello, world", "damaged"),
    ("a zip archive", lambda c: b"PK\x03\x04" + bytes(100), "damaged"),
    ("first half", lambda c: c[: len(c) // 2], "truncated or damaged"),
    ("field number zero", lambda c: c + b"\x02\x00", "field number 0"),
    ("a group", lambda c: c + b"\x0b\x0c", "wire type 3"),
    ("a varint without end", lambda c: c + b"\x08" + b"\xff" * 20, "too long"),
    ("a field longer than the file", lambda c: c + field(3, "x")[:1] + forge.varint(2**40), "ends in the middle"),
    ("a number for the graph", lambda c: c + forge.field(GRAPH, 1), "a number where bytes are expected"),
    ("a name that is not UTF-8", in_graph(field(1, [field(4, b"\xff\xfe")])), "not UTF-8"),
]


@pytest.mark.parametrize(("attack", "message"), [row[1:] for row in ATTACKS], ids=[row[0] for row in ATTACKS])
@pytest.mark.parametrize("bare", [False, True], ids=["bundle", "bare file"])
def test_refused(
    folder: Path, attack: Callable[[bytes], bytes], message: str, bare: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "InferenceSession", None)  # refused before ONNX Runtime sees it
    forge.replace(folder, "evaluate.onnx", attack((folder / "evaluate.onnx").read_bytes()))
    with pytest.raises(pullback.BundleError) as caught:
        pullback.load(folder / "evaluate.onnx" if bare else folder)
    assert message in str(caught.value)


def test_another_version_inside(folder: Path) -> None:
    content = (folder / "evaluate.onnx").read_bytes()
    old, new = (field(2, text) for text in ("1", "9"))
    forge.replace(
        folder,
        "evaluate.onnx",
        content.replace(field(1, "pullback.format_version") + old, field(1, "pullback.format_version") + new),
    )
    with pytest.raises(pullback.FormatVersionError, match="format version 9; this runtime reads 1"):
        pullback.load(folder / "evaluate.onnx")


def test_a_graph_onnxruntime_cannot_open_is_named(folder: Path) -> None:
    forge.replace(folder, "evaluate.onnx", in_graph(node("NoSuchOperator"))((folder / "evaluate.onnx").read_bytes()))
    bundle = pullback.load(folder)
    with pytest.raises(pullback.BundleError, match=r"evaluate: ONNX Runtime .* cannot open its graph"):
        bundle([[0.0, 0.0, 0.0]])


def test_graphs_swapped_with_right_checksums(folder: Path) -> None:
    evaluate, vjp = (folder / "evaluate.onnx").read_bytes(), (folder / "vjp.onnx").read_bytes()
    forge.replace(folder, "evaluate.onnx", vjp)
    forge.replace(folder, "vjp.onnx", evaluate)
    with pytest.raises(pullback.BundleError, match="differs from the manifest's"):
        pullback.load(folder)


def test_untouched_passes(folder: Path) -> None:
    shutil.rmtree(folder.parent / "copy", ignore_errors=True)
    content = (folder / "evaluate.onnx").read_bytes()
    assert forge.message(forge.fields(content)) == content
    assert pullback.load(folder).verify().ok
