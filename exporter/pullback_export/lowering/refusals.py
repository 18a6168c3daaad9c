"""Ops that are refused on purpose, with the reason that the user reads."""

from __future__ import annotations

import re

from pullback_export.lowering.texts import REFUSAL

_RANDOM = "it draws random numbers: export with training=False, or take the layer out"
_WRITES = "it changes a variable, and an exported function has no state"

REASONS: dict[str, str] = {
    **dict.fromkeys(
        (
            "AsString",
            "ReduceJoin",
            "RegexFullMatch",
            "StaticRegexFullMatch",
            "StringFormat",
            "StringLength",
            "StringSplit",
            "StringStrip",
            "StringToHashBucket",
            "StringToHashBucketFast",
            "StringToHashBucketStrong",
            "StringToNumber",
            "Substr",
            "UnicodeDecode",
            "UnicodeDecodeWithOffsets",
            "UnicodeEncode",
            "UnicodeTranscode",
        ),
        REFUSAL,
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
        "it calls Python, which is not available when the graph runs: write it with TensorFlow operators",
    ),
}

# Families of operators that no exported function can have. The first that fits says why.
_FAMILIES: tuple[tuple[str, str], ...] = (
    (
        r".*TPU.*|_?Xla.*|_*Mkl.*|_.*|Collective.*|Cudnn.*|.*Nccl.*|DTensor.*|(In|Out)feed.*|Send|Recv|.*SparseCore.*"
        r"|Risc.*|.*Dedup.*|Prelinearize.*|.*Minibatch.*|RemoteCall|SymbolicGradient|Device.*|Fused.*Conv2D"
        r"|ConvertToCooTensor|GlobalIterId|WorkerHeartbeat|ConsumeMutexLock|Mutex.*|.*Rpc.*",
        "only on an accelerator, between devices, or after TensorFlow's own optimiser",
    ),
    (
        r".*Dataset.*|.*Iterator.*|.*Queue.*|.*Reader.*|.*Stage.*|.*Unstage.*|OrderedMap.*|Map(Clear|Size|Peek|Incomplete"
        r"Size)|Barrier.*|RecordInput|Batch|Unbatch.*|BatchFunction|.*MemoryCache|.*StatsAggregator.*|ThreadPoolHandle"
        r"|ExperimentalThreadPoolHandle|(Un)?[Cc]ompressElement|GetElementAtIndex|DatasetCardinality",
        "it belongs to an input pipeline: export from the tensors behind it",
    ),
    (
        r"(Read|Write)File|MatchingFiles|Parse.*|Decode.*|Encode.*|ExtractJpegShape|(De)?[Ss]erialize.*|FileSystem.*"
        r"|Audio(Spectrogram|Microfrontend)|Mfcc",
        "it reads or writes a file format: export from the arrays behind it",
    ),
    (
        r".*Summary.*|Debug.*|Print.*|Timestamp|Copy(Host)?|CheckPinned|.*StatisticsSaver|CustomAggregator|DumpTensor"
        r"|Abort|.*Deadline|ImportEvent",
        "it watches or reports while a graph runs: take it out of the exported function",
    ),
    (r"Save.*|Restore.*|Sharded.*|.*Checkpoints|DistributedSave|Load.*|.*VocabRemapping", "it reads or writes files"),
    (
        r"(Resource)?(Sparse)?Apply.*|ResourceScatter.*|Scatter(Add|Sub|Mul|Div|Min|Max|Update)|ScatterNd(Add|Sub|Update"
        r"|Max|Min)|Assign.*|.*Accumulator.*|(Resource)?CountUpTo|(Resource)?StridedSliceAssign|(Destroy)?Temporary"
        r"Variable|Variable(V2)?|Inplace.*|Sdca.*|NegTrain",
        _WRITES,
    ),
    (
        r".*Mutable.*Table.*|LookupTable(Insert|Import|Remove|Export).*|.*TensorMap.*|Stack(V2|Push.*|Pop.*|Close.*)?"
        r"|.*SessionTensor|.*SessionHandle.*|DestroyResourceOp|.*SparseToTensorsMap|TakeManySparse.*|TensorArray.*",
        "it keeps something between calls, and an exported function has no state",
    ),
    (
        r".*Quantize[dr]?.*|Requanti[sz].*|Dequantize",
        "an integer kernel of a quantised graph: export the float model (fake quantisation is covered)",
    ),
    (
        r".*CandidateSampler|Random.*|Stateful.*|SampleDistorted.*|.*SeedGenerator.*|Stochastic.*|NonDeterministic.*"
        r"|Skipgram|Kmeans.*|KMC2.*",
        _RANDOM,
    ),
    (r".*String.*|Unicode.*|EditDistance|Fingerprint|.*Regex.*|UnsortedSegmentJoin|(Sparse|Ragged)Cross.*", REFUSAL),
    (r"BoostedTrees.*|IsBoostedTrees.*", "a decision tree has no derivative: export from the layer behind it"),
    (r"(CSR)?SparseMatrix.*", "a compressed sparse matrix packed in a variant has no ONNX form: use dense tensors"),
    (r"(Batch)?I?R?FFT(2D|3D|ND)?", "TensorFlow has no kernel of it on the CPU: use tf.signal.fft, rfft and their kin"),
)


def reason(name: str) -> str | None:
    """Why the operator ``name`` is refused, and what to do; None for one that only lacks a rule."""
    if name in REASONS:
        return REASONS[name]
    return next((why for pattern, why in _FAMILIES if re.fullmatch(pattern, name)), None)
