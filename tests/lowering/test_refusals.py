"""What a rule does not cover stops the export with the reason, never with a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf
from pullback_export.errors import UnsupportedOpsError
from pullback_export.lowering import refusals

from tests.lowering.case import Arg, convert

GAPS = {"strides": [1, 1, 4, 1, 1], "padding": "SAME"}
WINDOW = {"ksize": [1, 2, 2, 1, 1], **GAPS}
VOLUME = Arg((1, 4, 8, 4, 2), free=())


@pytest.mark.parametrize(
    ("function", "arg", "reason"),
    [
        (lambda x: tf.nn.conv3d(x, tf.ones([1, 2, 1, 2, 2]), **GAPS), VOLUME, "use padding VALID"),
        (lambda x: tf.nn.avg_pool3d(x, **WINDOW), VOLUME, "use padding VALID"),
        (lambda x: tf.nn.max_pool3d(x, **WINDOW), VOLUME, "use padding VALID"),
        (lambda x: tf.squeeze(x), Arg((3, 4)), "may be 1"),
        (lambda x: tf.squeeze(tf.raw_ops.FFT(input=tf.cast(x, tf.complex64))), Arg((3, 4)), "may be 1"),
        (lambda x: x + tf.random.stateless_normal(tf.shape(x), [1, 2]), Arg((3, 4)), "shape or parameters depend"),
        (lambda x: x + tf.random.stateless_gamma([4], [1, 2], tf.exp(x[0])), Arg((3, 4)), "parameters depend"),
        (
            lambda x: x + tf.cast(tf.strings.length(tf.strings.as_string(x)), x.dtype),
            Arg((3, 4)),
            r"StringLength.*export from the layer behind",
        ),
    ],
    ids=[
        "conv3d",
        "avg_pool3d",
        "max_pool3d",
        "squeeze",
        "squeeze_complex",
        "drawn_shape",
        "drawn_parameters",
        "texts",
    ],
)
def test_refusal(function: Callable[..., Any], arg: Arg, reason: str) -> None:
    shape = [None if axis in arg.free else size for axis, size in enumerate(arg.shape)]
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec(shape, tf.float32))
    with pytest.raises(UnsupportedOpsError, match=reason):
        convert(concrete, [arg], free=True)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda words: tf.strings.split(words, maxsplit=1).values, "maxsplit=1 beside whitespace"),
        (lambda words: tf.strings.lower(words, "utf-8"), "case of letters beyond ASCII"),
        (lambda words: tf.strings.regex_replace(words, "<[^>]*>", ""), "is not one text, or a set"),
        (lambda words: tf.strings.regex_replace(words, "a", r"\\0\\0"), "repeats what the regular"),
        (lambda words: tf.strings.regex_replace(words, "a", "", replace_global=False), "first match alone"),
        (
            lambda words: tf.strings.ngrams(tf.strings.split(words), 2, pad_values="#").values,
            "with padding, or shorter ones",
        ),
        (
            lambda words: tf.strings.ngrams(tf.strings.split(words), 2, preserve_short_sequences=True).values,
            "with padding, or shorter ones",
        ),
        (lambda words: tf.raw_ops.StringSplitV2(input=words, sep=words[0])[1], "value of sep depends on the data"),
    ],
    ids=["whitespace once", "letters", "pattern", "rewrite", "first match", "padded grams", "short grams", "separator"],
)
def test_refusals_of_strings(function: Callable[..., Any], reason: str) -> None:
    def looked_up(words: Any) -> Any:
        return tf.cast(tf.equal(function(words), "up"), tf.float32)

    concrete = tf.function(looked_up).get_concrete_function(tf.TensorSpec([None], tf.string))
    with pytest.raises(UnsupportedOpsError, match=reason):
        convert(concrete, [Arg((3,), dtype="object")], free=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ResourceApplyAdam", "changes a variable"),
        ("IteratorGetNextSync", "export from the tensors behind it"),
        ("DecodeJpeg", "export from the arrays behind it"),
        ("QuantizedConv2D", "export the float model"),
        ("LookupTableInsertV2", "no state"),
        ("FFTND", "use tf.signal.fft"),
        ("RandomUniform", "training=False"),
        ("ScalarSummary", "take it out"),
        ("XlaConv", "accelerator"),
    ],
)
def test_a_family_of_operators_has_one_reason(name: str, said: str) -> None:
    assert said in (refusals.reason(name) or "")


def test_what_only_lacks_a_rule_has_no_reason() -> None:
    assert refusals.reason("MatrixExponential") is None
