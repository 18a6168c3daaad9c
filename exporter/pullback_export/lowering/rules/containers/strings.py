"""Strings that are joined, split, changed in case or freed of some characters, as ``TextVectorization`` does it.

ONNX has ``StringConcat``, ``StringSplit`` and ``StringNormalizer``; what a pattern matches is replaced by splitting
there.
"""

from __future__ import annotations

import functools
import operator

import numpy as np

from pullback_export.graph.values import Value
from pullback_export.lowering.context import OpContext
from pullback_export.lowering.numerics.literal_patterns import LARGEST_SET, matched
from pullback_export.lowering.numerics.pieces import NOTHING, replaced, split, whole
from pullback_export.lowering.numerics.ragged_rows import from_rows, from_splits, length, lengths_of
from pullback_export.lowering.registry import lowers
from pullback_export.lowering.texts import REFUSAL, decoded

# What TensorFlow splits at beside spaces where no separator is given (absl::ascii_isspace).
OTHER_WHITESPACE = "\t\n\v\f\r"


@lowers("StringJoin")
def string_join(op: OpContext, *texts: Value) -> Value:
    """The strings one behind the other, with ``separator`` in between; scalars beside a tensor are repeated."""
    between = _text(op, "separator")
    ends = op.const(np.array(between, object))
    parts = [op.StringConcat(text, ends) if between else text for text in texts[:-1]]
    return functools.reduce(op.StringConcat, [*parts, texts[-1]])


@lowers("StringLower", "StringUpper")
def string_case(op: OpContext, texts: Value) -> Value:
    """ASCII letters in lower or upper case, all others as they are: the letters of the locale ``C``."""
    if op.attr("encoding"):
        raise op.unsupported(f"the case of letters beyond ASCII (encoding={op.attr('encoding')!r}): {REFUSAL}")
    action = "LOWER" if op.type == "StringLower" else "UPPER"
    # The operator takes vectors of at least one string.
    vector = op.Concat(op.Reshape(texts, [-1]), op.const(NOTHING), axis=0)
    changed = op.StringNormalizer(vector, case_change_action=action, is_case_sensitive=1, locale="C")
    return op.Reshape(op.Slice(changed, [0], [-1], [0]), op.shape_of(texts), allowzero=1)


@lowers("StringSplitV2")
def string_split(op: OpContext, texts: Value, separator: Value) -> list[Value]:
    """The pieces of each string of a vector as a sparse tensor: places, pieces, and the shape that holds them.

    Without a separator at runs of whitespace, else at each separator (string_split_op.cc of TensorFlow).
    """
    between, maxsplit = str(op.constant_of(separator, "sep").item()), op.attr("maxsplit")
    if maxsplit >= 0 and not between:
        raise op.unsupported(f"maxsplit={maxsplit} beside whitespace of any length: {REFUSAL}")
    if not between:
        pieces = split(op, replaced(op, texts, OTHER_WHITESPACE, " "), " ", empty=False)
    elif maxsplit == 0:
        pieces = whole(op, texts)
    else:
        pieces = split(op, texts, between, maxsplit if maxsplit > 0 else None)
    rows = from_rows(op, pieces.row, pieces.count)
    places = op.Concat(op.Unsqueeze(rows.row, [1]), op.Unsqueeze(rows.column, [1]), axis=1)
    lengths = lengths_of(op, pieces.row, pieces.count)
    longest = op.ReduceMax(op.Concat(lengths, [0], axis=0), [0], keepdims=1)
    return [places, pieces.texts, op.Concat(pieces.count, longest, axis=0)]


@lowers("StringNGrams")
def string_n_grams(op: OpContext, texts: Value, splits: Value) -> list[Value]:
    """Neighbours of each row joined, ``ngram_widths`` of them: those of the first width first; and the splits of these.

    A row that is shorter has none (ngram_kernels of tensorflow/core/kernels/string_ngrams_op.cc).
    """
    if op.attr("pad_width") or op.attr("preserve_short_sequences"):
        raise op.unsupported(f"n-grams with padding, or shorter ones of short rows: {REFUSAL}")
    splits = op.cast(splits, np.int64)
    rows = from_splits(op, splits)
    lengths = op.Slice(splits, [1], [2**31 - 1], [0]) - op.Slice(splits, [0], [-1], [0])
    counts = [op.Max(lengths - (width - 1), op.const(0, np.int64)) for width in op.attr("ngram_widths")]
    ends = op.CumSum(functools.reduce(operator.add, counts), op.const(0, np.int64))
    new_splits = op.Concat([0], ends, axis=0)
    begins = op.Slice(new_splits, [0], [-1], [0])
    grams, places = [], []
    for width, count in zip(op.attr("ngram_widths"), counts, strict=True):
        kept = op.Gather(count, rows.row, axis=0) > rows.column
        grams.append(op.Compress(_neighbours(op, texts, width), kept, axis=0))
        places.append(op.Compress(op.Gather(begins, rows.row, axis=0) + rows.column, kept, axis=0))
        begins = begins + count
    empty = op.Expand(op.const(NOTHING), op.Slice(new_splits, [-1], [2**31 - 1], [0]))
    place = op.Unsqueeze(op.Concat(*places, axis=0), [1])
    found = op.ScatterND(empty, place, op.Concat(*grams, axis=0))
    return [found, op.cast(new_splits, op.output_dtype(1))]


def _neighbours(op: OpContext, texts: Value, width: int) -> Value:
    """Each string with the ``width - 1`` behind it, which are empty behind the last one."""
    between, joined_so_far = op.const(np.array(_text(op, "separator"), object)), texts
    for number in range(1, width):
        later = op.Slice(texts, [number], [2**31 - 1], [0])
        missing = op.Expand(op.const(NOTHING), length(op, texts) - length(op, later))
        shifted = op.Concat(later, missing, axis=0)
        joined_so_far = op.StringConcat(op.StringConcat(joined_so_far, between), shifted)
    return joined_so_far


@lowers("StaticRegexReplace")
def static_regex_replace(op: OpContext, texts: Value) -> Value:
    """The strings with ``rewrite`` in place of what ``pattern`` matches: one text, or the characters of a set."""
    return _replaced(op, texts, _text(op, "pattern"), _text(op, "rewrite"))


@lowers("RegexReplace")
def regex_replace(op: OpContext, texts: Value, pattern: Value, rewrite: Value) -> Value:
    """As ``StaticRegexReplace``, of a pattern and a rewrite that are constants."""
    constants = (op.constant_of(item, what).item() for item, what in ((pattern, "pattern"), (rewrite, "rewrite")))
    return _replaced(op, texts, *map(str, constants))


def _replaced(op: OpContext, texts: Value, pattern: str, rewrite: str) -> Value:
    found = matched(pattern)
    if found is None:
        what = f"one text, or a set of at most {LARGEST_SET} characters"
        raise op.unsupported(f"the regular expression {pattern!r} is not {what}: {REFUSAL}")
    if "\\" in rewrite:
        raise op.unsupported(f"{rewrite!r} repeats what the regular expression {pattern!r} matches: {REFUSAL}")
    if not op.attr("replace_global"):
        raise op.unsupported(f"the first match alone (replace_global=False): {REFUSAL}")
    vector = replaced(op, op.Reshape(texts, [-1]), found.texts, rewrite, found.runs)
    return op.Reshape(vector, op.shape_of(texts), allowzero=1)


def _text(op: OpContext, name: str) -> str:
    """An attribute that is a string."""
    return str(decoded(op.tf_op.get_attr(name)).item())
