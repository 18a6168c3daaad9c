"""Rows for strings: tables with string keys and values, comparisons, and every operator that moves strings around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.lowering.case import Arg, Case, fixed, normal
from tests.lowering.cases.containers.lookup_tables import FIND, scaled, table

# Keys out of order, one of them empty, one with a NUL inside, and one that is no UTF-8.
KEYS = ["up", "Ärger", "", "日本", "a\0b", b"\xff\xfe"]
# Known and unknown ones; other letters, more bytes, and what only begins alike.
ASKED = fixed([["up", "Up"], ["日本", "日"], ["", " "], ["a\0b", "a"], ["Ärger", "none"]], "object")
# The same number of them in three axes.
DEEP = fixed([[["up", "Up"], ["日本", "日"]], [["", " "], ["Ärger", "none"]], [["a", "a\0b"], ["b", "up"]]], "object")

NUMBERS = [0.5, -1.0, 2.0, 3.0, 4.0, 5.0]
FLOATS = table(NUMBERS, 7.0, KEYS, tf.string)
DOUBLES = table(np.array(NUMBERS), 7.0, KEYS, tf.string)
PLACES = table(np.arange(1, 7), 0, KEYS, tf.string)
PLACES_32 = table(np.arange(1, 7, dtype=np.int32), -1, KEYS, tf.string)
WORDS = table(["日本", "up", "x", "", "Ärger", "y"], "none", KEYS, tf.string)
OF_NUMBERS = table(["up", "Ärger", ""], "none", [3, 8, -1])
UNREADABLE = table([1.0], 3.0, [b"\xff"], tf.string)


def found(strings: Any, x: Any) -> Any:
    """Numbers of strings, beside something with a derivative: the sum tells their order."""
    numbers = tf.cast(FLOATS.lookup(strings), x.dtype)
    flat = tf.reshape(numbers, [-1])
    return tf.sin(x) * tf.reduce_sum(flat * tf.cast(tf.range(1, tf.size(flat) + 1), x.dtype))


def row(name: str, ops: str | tuple[str, ...], function: Callable[..., Any], *inputs: Arg | tuple[int, ...]) -> Case:
    return Case(f"strings_{name}", ops, function, inputs, order=2)


def moved(name: str, op: str | tuple[str, ...], move: Callable[[Any], Any], strings: Arg = DEEP) -> Case:
    """Strings that ``move`` rearranges before they are looked up."""
    ops = (op,) if isinstance(op, str) else op
    return row(name, (*ops, FIND), lambda words, x: found(move(words), x), strings, normal(strings.shape[0]))


MOVES = [
    moved("reshaped", "Reshape", lambda words: tf.reshape(words, [-1, 2])),
    moved("with_an_axis", "ExpandDims", lambda words: tf.expand_dims(words, 1)),
    moved("without_an_axis", "Squeeze", lambda words: tf.squeeze(words[:, :1], 1)),
    moved("transposed", "Transpose", lambda words: tf.transpose(words, [0, 2, 1])),
    moved("joined", "ConcatV2", lambda words: tf.concat([words[:, 1:], words[:, :1]], 1)),
    moved("stacked", "Pack", lambda words: tf.stack([words[:, 0], words[:, 1]], 2)),
    moved("unstacked", "Unpack", lambda words: tf.concat(tf.unstack(words, axis=1)[::-1], 0)),
    moved("split", "Split", lambda words: tf.split(words, 2, axis=2)[1]),
    moved("split_unevenly", "SplitV", lambda words: tf.split(words, [0, 1, 1], axis=1)[2]),
    moved("every_other", "StridedSlice", lambda words: words[::2, :, ::-1]),
    moved("a_slice", "Slice", lambda words: tf.slice(words, [1, 0, 1], [-1, 2, 1])),
    moved("gathered", "GatherV2", lambda words: tf.gather(words, [1, 0, 1], axis=1)),
    moved("gathered_rows", "GatherV2", lambda words: tf.gather(words, [[0, 1], [1, 1]])),
    moved("gathered_last", "GatherV2", lambda words: tf.gather(words, [1, 1, 0], axis=2)),
    moved("gathered_by_row", "GatherNd", lambda words: tf.gather_nd(words, [[1, 0], [0, 1]])),
    moved("repeated", "Tile", lambda words: tf.tile(words, [1, 2, 1])),
    moved("broadcast", "BroadcastTo", lambda words: tf.broadcast_to(words[:, :1], [tf.shape(words)[0], 3, 2])),
    moved("reversed", "ReverseV2", lambda words: tf.reverse(words, [0, 2])),
    moved("guarded", "EnsureShape", lambda words: tf.ensure_shape(words, [None, 2, 2])),
    moved("a_constant_beside", ("Fill", "ConcatV2"), lambda words: tf.concat([tf.fill([1, 2, 2], "up"), words], 0)),
]

COMPARISONS = [
    row("equal", "Equal", lambda words, x: scaled(tf.equal(words, "up"), x), ASKED, normal(5, 2)),
    row("equal_to_nothing", "Equal", lambda words, x: scaled(tf.equal("", words), x), ASKED, normal(5, 2)),
    row("not_equal", "NotEqual", lambda words, x: scaled(tf.not_equal(words, "日本"), x), ASKED, normal(5, 2)),
    row("equal_to_several", "Equal", lambda words, x: scaled(tf.equal(words, ["up", ""]), x), ASKED, normal(5, 2)),
    row(
        "equal_to_a_column",
        "Equal",
        lambda words, x: scaled(tf.equal(words[:, :1], tf.constant([["up", "日本", "up", "a\0b"]])), x),
        ASKED,
        normal(5, 4),
    ),
    row(
        "equal_to_each_other",
        "Equal",
        lambda left, right, x: scaled(tf.equal(left, right), x),
        ASKED,
        fixed([["up", "up"], ["日本", "日本"], ["", ""], ["a", "a"], ["Ärger", "Ärger"]], "object"),
        normal(5, 2),
    ),
    row(
        "equal_in_any_column",
        "NotEqual",
        lambda words, x: scaled(tf.not_equal(words[:, :, None], words[:, None]), x),
        ASKED,
        normal(5, 2, 2),
    ),
    row(
        "chosen",
        ("SelectV2", FIND),
        lambda words, x: found(tf.where(words == "", "Ärger", words), x),
        ASKED,
        normal(5),
    ),
    row(
        "chosen_by_a_number",
        ("SelectV2", FIND),
        lambda words, x: found(tf.where(tf.reduce_sum(x) > 0, words, words[:, ::-1]), x),
        ASKED,
        normal(5),
    ),
    Case(
        "strings_counted",
        ("Size", "Shape", FIND),
        lambda words, x: found(words[: tf.size(words) // tf.shape(words)[0] - 1], x),
        (ASKED, normal(5)),
        free=(True,),
    ),
    row(
        "in_a_branch",
        ("StatelessIf", FIND),
        lambda words, x: tf.cond(tf.reduce_sum(x) > 0, lambda: found(words, x), lambda: found(words[:, :1], x) * 2.0),
        ASKED,
        normal(5),
    ),
]

# Delimiters side by side, in front and behind, and alone; whitespace of all kinds; bytes, letters and no text.
SENTENCES = fixed(
    ["up Up", "", " \t\n\v\f\r ", "up\u00a0up", "日本,, 日,", "\tup\n\nÄrger\r\nup ", ",", "a\0b a\0b"], "object"
)
GRAMS = fixed(["up up up", "", "日 本 up", "a b", "日本", "x y z up a a"], "object")
COLUMNS = fixed([["Up, DOWN!", "ÄRGER"], ["日本 [x]", ""], ["<br />up<br /><br />", "a-b_c"]], "object")


def tokens(words: Any, x: Any, known: Any = FLOATS) -> Any:
    """Numbers of the pieces of each row, weighed by their place, and how many there are."""
    sparse = words.to_sparse() if isinstance(words, tf.RaggedTensor) else words
    weights = tf.cast(1 + sparse.indices[:, 1] + 10 * sparse.indices[:, 0], x.dtype)
    numbers = tf.cast(known.lookup(sparse.values), x.dtype)
    count = tf.cast(tf.reduce_sum(sparse.dense_shape), x.dtype)
    return tf.sin(x) * (tf.reduce_sum(numbers * weights) + count)


def divided(name: str, split: Callable[[Any], Any], texts: Arg = SENTENCES) -> Case:
    return row(name, ("StringSplitV2", FIND), lambda words, x: tokens(split(words), x), texts, normal(texts.shape[0]))


def changed(name: str, op: str, change: Callable[[Any], Any], strings: Arg = COLUMNS) -> Case:
    """Strings that ``change`` writes anew: all of them are keys, so that a wrong letter is another number."""
    keys = change(tf.constant(strings.draw(np.random.default_rng(0), strings.shape))).numpy().ravel()  # type: ignore[misc]
    known = table(np.arange(1.0, 1 + len(set(keys))), -5.0, sorted(set(keys)), tf.string)

    def function(words: Any, x: Any) -> Any:
        return scaled(known.lookup(change(words)), x)

    return row(name, (op, FIND), function, strings, normal(*strings.shape))


def cleaned_size(words: Any, dtype: Any) -> Any:
    """How many strings there are after they were changed."""
    changed = tf.strings.regex_replace(tf.strings.lower(words), "b", "")
    return tf.cast(tf.size(tf.strings.join([changed, changed])) + tf.shape(changed)[0], dtype)


def grams(name: str, widths: Any, **options: Any) -> Case:
    """Neighbouring words, all of which are keys."""

    def joined(words: Any) -> Any:
        return tf.strings.ngrams(tf.strings.split(words), widths, **options)

    keys = sorted(set(joined(tf.constant(GRAMS.draw(None, GRAMS.shape))).flat_values.numpy()))  # type: ignore[misc, arg-type]
    known = table(np.arange(1.0, 1 + len(keys)), -5.0, keys, tf.string)
    return row(name, ("StringNGrams", FIND), lambda words, x: tokens(joined(words), x, known), GRAMS, normal(6))


WRITTEN = [
    divided("at_whitespace", tf.strings.split),
    divided("at_a_comma", lambda words: tf.strings.split(words, ",")),
    divided("at_several_letters", lambda words: tf.strings.split(words, "日本")),
    divided("at_a_nul", lambda words: tf.strings.split(words, "\0")),
    divided("once", lambda words: tf.strings.split(words, "up", maxsplit=1)),
    divided("not_at_all", lambda words: tf.strings.split(words, ",", maxsplit=0)),
    divided("of_nothing", tf.strings.split, fixed(["", " "], "object")),
    row(
        "as_one_tensor",
        ("StringSplitV2", "RaggedTensorToTensor", FIND),
        lambda words, x: found(tf.strings.split(words).to_tensor("up", shape=[None, 4]), x),
        SENTENCES,
        normal(8),
    ),
    row(
        "some_rows",
        ("StringSplitV2", "RaggedGather", FIND),
        lambda words, x: found(tf.gather(tf.strings.split(words), [5, 0, 4, 0]).to_tensor(), x),
        SENTENCES,
        normal(8),
    ),
    grams("pairs", 2),
    grams("up_to_three", (3, 1, 2), separator=""),
    changed("lower", "StringLower", tf.strings.lower),
    row(
        "lower_of_nothing",
        ("StringLower", "StaticRegexReplace"),
        lambda words, x: tf.sin(x) * cleaned_size(words[:, :0], x.dtype),
        COLUMNS,
        normal(3),
    ),
    changed("upper", "StringUpper", tf.strings.upper),
    changed(
        "joined_strings", "StringJoin", lambda words: tf.strings.join([words, "up", words[:, ::-1]], separator="--")
    ),
    changed("joined_scalars", "StringJoin", lambda words: tf.strings.join(["<", words, ">"])),
    changed("added", "AddV2", lambda words: words + tf.reverse(words, [1])),
    changed("without_a_text", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, "<br />", "")),
    changed("a_text_for_a_text", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, "<br />", "日 ")),
    changed("without_a_set", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, r"[!,\-\[\]<-?]", "")),
    changed("a_mark_for_each", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, r"[\s!]", "__")),
    changed("a_mark_for_runs", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, r"[<> br/]+", "_")),
    changed(
        "a_pattern_of_tensors",
        "RegexReplace",
        lambda words: tf.raw_ops.RegexReplace(input=words, pattern=tf.constant("[- ]"), rewrite=tf.constant("+")),
    ),
    changed(
        "a_mark_that_is_matched", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, "[-_ ]", "_ -")
    ),
    changed("runs_of_a_letter", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, "p+", "r")),
    changed("joined_nothing", "StringJoin", lambda words: tf.strings.join([words])),
    changed("joined_constants", "StringJoin", lambda words: words + tf.strings.join(["a", "b"], "-")),
    changed("letters", "StaticRegexReplace", lambda words: tf.strings.regex_replace(words, "[日Ä]", "e\u0301")),
]

CASES = [
    row("float", FIND, lambda words, x: scaled(FLOATS.lookup(words), x), ASKED, normal(5, 2)),
    row("double", FIND, lambda words, x: scaled(DOUBLES.lookup(words), x), ASKED, normal(5, 2)),
    row("int64", FIND, lambda words, x: scaled(PLACES.lookup(words), x), ASKED, normal(5, 2)),
    row("int32", FIND, lambda words, x: scaled(PLACES_32.lookup(words), x), ASKED, normal(5, 2)),
    row("no_key_is_utf8", FIND, lambda words, x: scaled(UNREADABLE.lookup(words), x), ASKED, normal(5, 2)),
    row("to_strings", FIND, lambda words, x: found(WORDS.lookup(words), x), ASKED, normal(5)),
    row("of_numbers", FIND, lambda keys, x: found(OF_NUMBERS.lookup(keys), x), fixed([3, 8, 9], "int64"), normal(3)),
    row(
        "computed_default",
        FIND,
        lambda words, x: scaled(
            tf.raw_ops.LookupTableFindV2(table_handle=WORDS.resource_handle, keys=words, default_value=words[0, 1])
            == "Up",
            x,
        ),
        ASKED,
        normal(5, 2),
    ),
    row(
        "embedding",
        FIND,
        lambda words, rows: tf.tanh(tf.gather(rows, PLACES.lookup(words))),
        ASKED,
        Arg((7, 3), free=()),
    ),
    row(
        "size",
        "LookupTableSizeV2",
        lambda words, x: scaled(FLOATS.lookup(words), x) / tf.cast(FLOATS.size(), x.dtype),
        ASKED,
        normal(5, 2),
    ),
    *COMPARISONS,
    *MOVES,
    *WRITTEN,
]
