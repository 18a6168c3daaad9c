"""Random damage: whatever is in a file or an argument, the answer is right or a documented error."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback import PullbackError, golden, manifest
from pullback.storage import onnx_file

from tests.runtime import forge
from tests.runtime.conftest import FIXTURES

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

CASES = int(os.environ.get("PULLBACK_FUZZ_CASES", "100"))
fuzzed = settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), database=None)

NET = FIXTURES / "net.pullback"
MANIFEST = json.loads((NET / "manifest.json").read_text(encoding="utf-8"))
GRAPH, GOLDEN = (NET / "evaluate.onnx").read_bytes(), (NET / "golden.npz").read_bytes()
BUNDLE = pullback.load(NET)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=8
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@st.composite
def damaged(draw: Any, content: bytes) -> bytes:
    """Bytes flipped, cut out, doubled or put in."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        how = draw(st.sampled_from(("flip", "cut", "insert", "double")))
        if how == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at : at + draw(st.integers(1, 40))]
        elif how == "insert":
            data[at:at] = draw(st.binary(max_size=12))
        elif how == "double":
            data[at:at] = data[at : at + draw(st.integers(1, 60))]
    return bytes(data)


@fuzzed
@given(st.data())
def test_any_value_anywhere_in_the_manifest(data: Any) -> None:
    value = json.loads(json.dumps(MANIFEST))
    *parents, last = data.draw(st.sampled_from([place for place in places(value) if place]))
    inside = value
    for key in parents:
        inside = inside[key]
    inside[last] = data.draw(json_values)
    try:
        found = manifest.parse(json.dumps(value))
    except PullbackError:
        return
    assert manifest.parse(found.to_json()) == found


@fuzzed
@given(st.binary() | damaged((NET / "manifest.json").read_bytes()))
def test_any_bytes_as_manifest(content: bytes) -> None:
    try:
        manifest.parse(content)
    except PullbackError:
        return


@fuzzed
@given(st.binary() | damaged(GRAPH))
def test_any_bytes_as_graph(content: bytes) -> None:
    try:
        found = onnx_file.screen(content, "graph")
        spec, _ = manifest.from_metadata_props(found.metadata, "graph")
        onnx_file.check_signature(found, spec, "graph")
    except PullbackError:
        return


@fuzzed
@given(damaged(GOLDEN))
def test_any_bytes_as_golden_samples(content: bytes) -> None:
    try:
        golden.read(content, [function.spec for function in BUNDLE.functions.values()], "golden")
    except PullbackError:
        return


@pytest.mark.filterwarnings("ignore")
@fuzzed
@given(json_values | hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
def test_any_argument(value: Any) -> None:
    """What is taken gives the numbers of the same array in float32; what is not gives one line."""
    message, result = "", None
    try:
        result = BUNDLE(value)
    except PullbackError as error:
        message = str(error)
    assert "\n" not in message
    if result is None:
        return
    array = np.asarray(value)
    assert array.shape == (len(array), 3)
    with np.errstate(all="ignore"):
        again = BUNDLE(array.astype(np.float32))
    assert all(np.array_equal(got, want, equal_nan=True) for got, want in zip(result, again, strict=True))


@settings(fuzzed, max_examples=max(CASES // 4, 1))
@given(damaged(GRAPH))
def test_a_whole_bundle(content: bytes) -> None:
    """Checksums mended: what still loads either runs, or ONNX Runtime's refusal comes as ours."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in NET.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        forge.replace(folder, "evaluate.onnx", content)
        try:
            bundle = pullback.load(folder)
            bundle.verify()
        except PullbackError:
            return


def test_the_fuzzer_reaches_the_good_path() -> None:
    found = onnx_file.screen(GRAPH, "graph")
    assert manifest.from_metadata_props(found.metadata, "")[0] == BUNDLE.spec
    assert golden.read(GOLDEN, [f.spec for f in BUNDLE.functions.values()], "")["evaluate"]
    assert io.BytesIO(GRAPH).read() == GRAPH
