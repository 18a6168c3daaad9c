"""Free axes: the sizes at which they are compared, and which of them are found to belong together."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pullback
import pytest
import tensorflow as tf
from pullback_export import ExportError, compare, export

RNG = np.random.default_rng(0)


def floats(*shape: int | None, name: str = "x", dtype: Any = tf.float64) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype, name)


def whole(*shape: int | None, name: str) -> tf.TensorSpec:
    return tf.TensorSpec(shape, tf.int32, name)


def series(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.sin(x) * tf.cumsum(x, 1), 1)}


def halves(x: Any) -> Any:
    with tf.control_dependencies(
        [tf.debugging.assert_equal(tf.shape(x)[1] % 4, 0)] if not tf.executing_eagerly() else []
    ):
        tf.debugging.assert_equal(tf.shape(x)[1] % 4, 0)
        return {"y": tf.reduce_sum(x**2, 1)}


def eight(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.reshape(x, [tf.shape(x)[0], 8]) ** 2, 1)}


def kernel(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.nn.conv1d(x[..., None], tf.ones([4, 1, 1], x.dtype), 1, "VALID") ** 2, [1, 2])}


def window(x: Any) -> Any:
    return {"y": tf.reduce_sum(tf.nn.avg_pool1d(x[..., None], 4, 1, "VALID") ** 2, [1, 2])}


def masked(x: Any, mask: Any) -> Any:
    return {"y": tf.reduce_sum(tf.where(mask, x, 0) ** 2, 1)}


def apart(x: Any, z: Any) -> Any:
    return {"y": tf.reduce_sum(x**2, 1) * tf.reduce_sum(z, 1)}


def edges(x: Any, i: Any, j: Any) -> Any:
    return {"y": tf.reduce_sum((tf.gather(x, i) - tf.gather(x, j)) ** 2)}


def splits(x: Any, s: Any) -> Any:
    counts = s[1:] - s[:-1]
    rows = tf.repeat(tf.range(tf.size(counts)), counts)
    return {"y": tf.reduce_sum(tf.math.unsorted_segment_sum(x, rows, tf.size(counts)) ** 2)}


def exported(function: Any, folder: pathlib.Path, inputs: Any, samples: Any = None, **options: Any) -> pullback.Bundle:
    wrt = inputs[0].name
    requests = [f"gradient(y, {wrt})"]
    return export(
        function, folder / "it.pullback", requests, inputs=inputs, samples=samples, formats=("onnx",), **options
    )


def sizes(function: Any, bundle: pullback.Bundle, inputs: Any, samples: Any = None) -> set[str]:
    """The sizes that the report tells of, besides those of the usual samples."""
    source = tf.function(function, input_signature=inputs, autograph=False)
    report = compare(source, bundle.path, samples)
    stages = {row.stage.partition(": ")[2] for row in report.rows if row.stage.startswith("ONNX")}
    return {stage for stage in stages if "=" in stage}


@pytest.mark.parametrize(
    ("function", "samples", "compared"),
    [
        (series, None, {"x_1 = 3", "x_1 = 7", "x_1 = 1"}),
        (series, {"x": RNG.normal(size=(4, 6))}, {"x_1 = 3", "x_1 = 7", "x_1 = 1"}),
        (series, {"x": RNG.normal(size=(4, 3))}, {"x_1 = 2", "x_1 = 5", "x_1 = 1"}),
        (series, {"x": RNG.normal(size=(4, 1))}, {"x_1 = 3", "x_1 = 2"}),
        (series, {"x": RNG.normal(size=(2, 200))}, {"x_1 = 3", "x_1 = 199", "x_1 = 1"}),
        (series, [{"x": RNG.normal(size=(2, n))} for n in (4, 9, 11)], set()),
        (halves, {"x": RNG.normal(size=(4, 8))}, {"x_1 = 4", "x_1 = 16"}),
    ],
)  # fmt: skip
def test_three_sizes_of_a_free_axis_are_compared(
    function: Any, samples: Any, compared: set[str], tmp_path: pathlib.Path
) -> None:
    inputs = [floats(None, None)]
    bundle = exported(function, tmp_path, inputs, samples)
    assert sizes(function, bundle, inputs, samples) == compared


def notes(bundle: pullback.Bundle) -> list[str]:
    assert bundle.manifest is not None
    found: Any = bundle.manifest.parity["notes"]
    return list(found)


def test_an_axis_of_one_size_only_is_said_to_be_so(tmp_path: pathlib.Path) -> None:
    bundle = exported(eight, tmp_path, [floats(None, None)], {"x": RNG.normal(size=(4, 8))})
    (note,) = (note for note in notes(bundle) if "free axis" in note)
    assert note.startswith("the free axis x_1 of x was compared at size 8 only: the live model does not take 3, ")


def test_a_size_at_which_a_file_fails_is_said_to_be_so(tmp_path: pathlib.Path) -> None:
    """Nothing is left of a signal that is shorter than the window; TensorFlow says so, ONNX Runtime fails."""
    bundle = exported(window, tmp_path, [floats(None, None, dtype=tf.float32)])
    assert any(note.startswith("x_1 = 3: the ONNX Runtime file fails where the live model") for note in notes(bundle))


TOGETHER: list[tuple[Any, list[tf.TensorSpec], dict[str, Any] | None, bool | None, dict[str, tuple[Any, ...]]]] = [
    (masked, [floats(None, None), tf.TensorSpec([None, None], tf.bool, "mask")], None, None,
     {"x": ("B", "x_1"), "mask": ("B", "x_1")}),
    (apart, [floats(None, None), floats(None, None, name="z")], None, None, {"x": ("B", "x_1"), "z": ("B", "z_1")}),
    (apart, [floats(None, None), floats(None, None, name="z")], {"x": np.ones((2, 5)), "z": np.ones((2, 5))}, None,
     {"x": ("B", "x_1"), "z": ("B", "z_1")}),
    (edges, [floats(None, 3), whole(None, name="i"), whole(None, name="j")],
     {"x": RNG.normal(size=(4, 3)), "i": [0, 1, 2, 3], "j": [1, 2, 3, 0]}, False,
     {"x": ("x_0", 3), "i": ("i_0",), "j": ("i_0",)}),
    (edges, [floats(None, 3), whole(None, name="i"), whole(None, name="j")], None, False,
     {"x": ("x_0", 3), "i": ("i_0",), "j": ("i_0",)}),
    (splits, [floats(None), whole(None, name="s")], {"x": RNG.normal(size=5), "s": [0, 2, 3, 4, 5]}, False,
     {"x": ("x_0",), "s": ("s_0",)}),
    (lambda m: {"y": tf.linalg.logdet(m)}, [floats(None, None, None, name="m")], None, None,
     {"m": ("B", "m_1", "m_1")}),
    (lambda x, z: {"y": tf.reduce_sum(x * z)}, [floats(None), floats(None, name="z")],
     {"x": np.ones(1), "z": np.ones(1)}, False, {"x": ("x_0",), "z": ("x_0",)}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "inputs", "samples", "batched", "shapes"), TOGETHER)
def test_axes_that_belong_together_are_found(
    function: Any, inputs: Any, samples: Any, batched: bool | None, shapes: Any, tmp_path: pathlib.Path
) -> None:
    bundle = exported(function, tmp_path, inputs, samples, batched=batched)
    assert {tensor.name: tensor.shape for tensor in bundle.spec.inputs} == shapes


def test_names_of_the_callers_are_kept(tmp_path: pathlib.Path) -> None:
    inputs = [floats(None, None), tf.TensorSpec([None, None], tf.bool, "mask")]
    for axes, names in (
        ({"x": {1: "time"}}, ("time", "time")),
        ({"mask": {1: "time"}}, ("time", "time")),
        ({"x": {1: "time"}, "mask": {1: "length"}}, ("time", "length")),
    ):
        bundle = exported(masked, tmp_path, inputs, axes=axes, overwrite=True)
        assert tuple(tensor.shape[1] for tensor in bundle.spec.inputs) == names


def test_samples_whose_axes_of_one_name_differ_are_refused(tmp_path: pathlib.Path) -> None:
    samples = {"x": np.ones((2, 5)), "z": np.ones((2, 4))}
    axes = {"x": {1: "n"}, "z": {1: "n"}}
    with pytest.raises(ExportError, match="axis 'n' is 4 in 'z' and 5 in 'x'"):
        exported(apart, tmp_path, [floats(None, None), floats(None, None, name="z")], samples, axes=axes)
