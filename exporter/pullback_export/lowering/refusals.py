"""Ops that are refused on purpose, with the reason that the user reads."""

from __future__ import annotations

_RANDOM = "it draws random numbers: export with training=False, or take the layer out"
_WRITES = "it changes a variable, and an exported function has no state"

_STRINGS = "no text passes through an exported function: export from the layer behind it, whose inputs are numbers"

REASONS: dict[str, str] = {
    **dict.fromkeys(
        (
            "AsString",
            "ReduceJoin",
            "RegexFullMatch",
            "RegexReplace",
            "StaticRegexFullMatch",
            "StaticRegexReplace",
            "StringFormat",
            "StringJoin",
            "StringLength",
            "StringLower",
            "StringNGrams",
            "StringSplit",
            "StringSplitV2",
            "StringStrip",
            "StringToHashBucket",
            "StringToHashBucketFast",
            "StringToHashBucketStrong",
            "StringToNumber",
            "StringUpper",
            "Substr",
            "UnicodeDecode",
            "UnicodeDecodeWithOffsets",
            "UnicodeEncode",
            "UnicodeTranscode",
        ),
        _STRINGS,
    ),
    **dict.fromkeys(
        (
            "Multinomial",
            "ParameterizedTruncatedNormal",
            "RandomGamma",
            "RandomGammaGrad",
            "RandomPoisson",
            "RandomPoissonV2",
            "RandomShuffle",
            "RandomStandardNormal",
            "RandomUniform",
            "RandomUniformInt",
            "RngReadAndSkip",
            "RngSkip",
            "StatefulStandardNormal",
            "StatefulStandardNormalV2",
            "StatefulTruncatedNormal",
            "StatefulUniform",
            "StatefulUniformFullInt",
            "StatefulUniformInt",
            "TruncatedNormal",
        ),
        _RANDOM,
    ),
    **dict.fromkeys(
        (
            "AssignAddVariableOp",
            "AssignSubVariableOp",
            "AssignVariableOp",
            "ResourceScatterAdd",
            "ResourceScatterUpdate",
        ),
        _WRITES,
    ),
    **dict.fromkeys(
        ("EagerPyFunc", "NumpyFunction", "PyFunc", "PyFuncStateless"),
        "it calls Python, which is not there when the graph runs: write it with TensorFlow ops",
    ),
}
