"""Ops with a gradient in TensorFlow that have no rule, each under the reason why.

``tests/lowering/test_gradient_registry.py`` keeps this list honest: an op with a rule must not stand here, and an op
that TensorFlow does not know neither.
"""

from __future__ import annotations

EXCLUSIONS: dict[str, str] = {
    name: reason
    for reason, names in {
        "the values are random: no two calls agree, and an exported function must be deterministic": "RandomGamma",
        "control flow and arrays of TensorFlow 1 graphs; functions of TensorFlow 2 use While, If and TensorLists": (
            "Enter Exit Merge NextIteration Switch LoopCond RefEnter RefExit RefIdentity RefMerge RefNextIteration"
            " RefSwitch"
            " TensorArrayConcat TensorArrayConcatV2 TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV2"
            " TensorArrayGatherV3 TensorArrayRead TensorArrayReadV2 TensorArrayReadV3 TensorArrayScatter"
            " TensorArrayScatterV2 TensorArrayScatterV3 TensorArraySplit TensorArraySplitV2 TensorArraySplitV3"
            " TensorArrayWrite TensorArrayWriteV2 TensorArrayWriteV3"
        ),
        "no kernel on the CPU: GPU, TPU, XLA and collective ops": (
            "AllToAll CTCLossV2 CollectivePermute CopyToMesh CopyToMeshGrad CrossReplicaSum CudnnRNN CudnnRNNV2"
            " CudnnRNNV3 NcclAllReduce NcclBroadcast NcclReduce Relayout RelayoutLike TPUEmbeddingActivations"
            " XlaClusterOutput XlaSpmdFullToShardShape"
        ),
        "the way back from XlaSpmdFullToShardShape, which has no kernel on the CPU": "XlaSpmdShardToFullShape",
        "TensorFlow refuses to run it: removed from graphs since version 7, 9 or 22": (
            "BatchNormWithGlobalNormalization QuantizeAndDequantize TopK"
        ),
        "calls Python": "EagerPyFunc",
        "exists in eager mode only": "_EagerConst",
        "a debugger's op, which is only there while it watches": (
            "DebugGradientIdentity DebugGradientRefIdentity DebugIdentityV2"
        ),
        "ragged and composite tensors packed in a variant, which have no ONNX form": (
            "CompositeTensorVariantFromComponents CompositeTensorVariantToComponents RaggedTensorFromVariant"
            " RaggedTensorToVariant"
        ),
        "compressed sparse matrices packed in a variant, which have no ONNX form": (
            "CSRSparseMatrixToDense CSRSparseMatrixToSparseTensor DenseToCSRSparseMatrix SparseMatrixAdd"
            " SparseMatrixMatMul SparseMatrixMul SparseMatrixSoftmax SparseMatrixSparseMatMul SparseMatrixTranspose"
            " SparseTensorToCSRSparseMatrix"
        ),
        "TensorFlow registers a gradient that can only raise an error": ("SparseSparseMaximum SparseSparseMinimum"),
    }.items()
    for name in names.split()
}

# Rules that need no row of their own, each with the reason.
ROWLESS: dict[str, str] = {
    name: reason
    for reason, names in {
        "every row passes through them: constants, variables, arguments, calls": (
            "Assert Const EnsureShape Identity IdentityN NoOp PartitionedCall Placeholder PlaceholderWithDefault"
            " PreventGradient ReadVariableOp Snapshot StatefulPartitionedCall StopGradient VariableShape CheckNumerics"
        ),
        "another name of a rule that has rows": (
            "BatchCholesky BatchMatrixDeterminant BatchMatrixInverse BatchMatrixSolve BatchMatrixTriangularSolve Case"
            " While"
        ),
        "only vectorised loops write it": "TensorListPushBackBatch",
    }.items()
    for name in names.split()
}
