"""``pullback triton``: configurations as Triton's own protobuf reads them, against the graphs as ONNX Runtime does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pullback
import pytest
from pullback.cli import main
from pullback.errors import InputError
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec
from pullback.serving import triton

from tests.anywhere.conftest import BUNDLES, GOLDEN

text_format = pytest.importorskip("google.protobuf.text_format", reason="protobuf is not installed")
model_config_pb2 = pytest.importorskip("tritonclient.grpc.model_config_pb2", reason="tritonclient is not installed")

FIELD = GOLDEN / "field.pullback"
# ModelConfigDataTypeToOnnxDataType of the backend, in the words of ONNX Runtime's Python API.
ORT_TYPES = {
    **{"TYPE_BOOL": "bool", "TYPE_FP16": "float16", "TYPE_FP32": "float", "TYPE_FP64": "double"},
    **{f"TYPE_{sign}INT{bits}": f"{sign.lower()}int{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)},
}


def parsed(text: str) -> Any:
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def kind(tensor: Any) -> str:
    return str(model_config_pb2.DataType.Name(tensor.data_type))


def check(config: Any, session: onnxruntime.InferenceSession) -> None:
    """What Triton checks when it loads a model: ValidateIOShape in core, ValidateInputs/Outputs in the backend."""
    for tensors, nodes in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert sorted(tensor.name for tensor in tensors) == sorted(node.name for node in nodes)
        by_name = {node.name: node for node in nodes}
        for tensor in tensors:
            node, dims = by_name[tensor.name], list(tensor.dims)
            assert dims and all(dim == -1 or dim >= 1 for dim in dims)
            assert f"tensor({ORT_TYPES[kind(tensor)]})" == node.type
            if tensor.HasField("reshape"):
                assert config.max_batch_size > 0 or tensor.reshape.shape
                assert dims == [1] and list(tensor.reshape.shape) == []
                dims = []
            shape = [size if isinstance(size, int) else -1 for size in node.shape]
            if config.max_batch_size > 0:
                assert shape == [-1, *dims]
            elif shape:
                assert shape == dims
            else:
                assert dims == [1]


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_a_repository_of_every_golden_bundle(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    repository = tmp_path / "models"
    assert main(["triton", str(path), str(repository), "--name", "m", "--batch", "32"]) == 0
    bundle = pullback.load(path)
    assert sorted(item.name for item in repository.iterdir()) == sorted(f"m_{name}" for name in bundle.functions)
    assert f"--model-repository {repository}" in capsys.readouterr().out
    for name, function in bundle.functions.items():
        folder = repository / f"m_{name}"
        config = parsed((folder / "config.pbtxt").read_text("utf-8"))
        assert (config.name, config.backend) == (folder.name, "onnxruntime")
        assert config.max_batch_size == (32 if function.spec.rowwise else 0)
        assert config.HasField("dynamic_batching") == function.spec.rowwise
        assert config.parameters["intra_op_thread_count"].string_value == "1"
        for derivative in function.spec.derivatives:
            assert config.parameters[f"pullback.{derivative.name}"].string_value == derivative.request
        session = onnxruntime.InferenceSession(folder / "1" / "model.onnx")
        check(config, session)
        for case in bundle.samples()[name]:  # what a client of this configuration may send
            for tensor in config.input:
                rows = case.inputs[tensor.name].shape[1 if config.max_batch_size else 0 :]
                want = [1] if tensor.HasField("reshape") else list(tensor.dims)
                assert len(want) == len(rows) and all(dim in (-1, size) for dim, size in zip(want, rows))
            found = session.run(None, case.inputs)
            for node, array in zip(session.get_outputs(), found):
                bound = bundle.tolerance.of(str(array.dtype)) * max(1, np.abs(case.outputs[node.name]).max(initial=0))
                np.testing.assert_allclose(array, case.outputs[node.name], rtol=0, atol=bound)


def spec(*tensors: TensorSpec, batched: bool = True) -> FunctionSpec:
    outputs = (TensorSpec("y", "float64", ("B",) if batched else ()), TensorSpec("dy_dx", "float64", tensors[0].shape))
    derivative = DerivativeSpec("gradient(y, x)", "gradient", "dy_dx", "y", ("x",))
    return FunctionSpec("evaluate", tensors, outputs, (derivative,), batched)


X, FLAG = TensorSpec("x", "float64", ("B", 3)), TensorSpec("flag", "bool", ("B",))
SHAPES = [
    # inputs, batched, max_batch_size, dims of the first input and of y
    ([X], True, 16, [3], [1]),
    ([X, FLAG], True, 16, [3], [1]),
    ([TensorSpec("x", "float32", ("B", "T", 2))], True, 16, [-1, 2], [1]),
    ([X, TensorSpec("t", "float64", ())], True, 0, [-1, 3], [-1]),  # an input without the batch: rows stay together
    ([TensorSpec("x", "float64", (5, 3))], False, 0, [5, 3], [1]),
    ([TensorSpec("x", "float64", ())], False, 0, [1], [1]),
    ([TensorSpec("x", "float64", ("atoms", 3))], False, 0, [-1, 3], [1]),
]


@pytest.mark.parametrize(("tensors", "batched", "batch", "dims", "of_y"), SHAPES)
def test_shapes(tensors: list[TensorSpec], batched: bool, batch: int, dims: list[int], of_y: list[int]) -> None:
    config = parsed(triton.config("m", spec(*tensors, batched=batched), 16))
    assert config.max_batch_size == batch
    assert list(config.input[0].dims) == dims
    assert list(config.output[0].dims) == of_y
    assert config.output[0].HasField("reshape") == (batch > 0)


def test_every_dtype_has_a_name() -> None:
    for dtype in pullback.manifest.DTYPES:
        config = parsed(triton.config("m", spec(X, TensorSpec("z", dtype, ("B", 1)))))
        assert ORT_TYPES[kind(config.input[1])] == {"float32": "float", "float64": "double"}.get(dtype, dtype)


def test_batches_apart_and_threads_of_onnx_runtime() -> None:
    config = parsed(triton.config("m", spec(X), 0, 0))
    assert config.max_batch_size == 0 and list(config.input[0].dims) == [-1, 3]
    assert not config.HasField("dynamic_batching") and "intra_op_thread_count" not in config.parameters
    assert not parsed(triton.config("m", spec(X), 1)).HasField("dynamic_batching")


def test_an_axis_of_size_zero_is_refused() -> None:
    with pytest.raises(InputError, match="axes of size 0"):
        triton.config("m", spec(X, TensorSpec("nothing", "float64", ("B", 0))))


def test_what_is_there_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other" / "1"
    other.mkdir(parents=True)
    command = ["triton", str(FIELD), str(tmp_path), "--name", "m"]
    assert main(command) == 0
    before = (tmp_path / "m_vjp" / "1" / "model.onnx").read_bytes()
    assert main(command) == 1
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert main([*command, "--overwrite", "--batch", "7"]) == 0
    assert parsed((tmp_path / "m_vjp" / "config.pbtxt").read_text()).max_batch_size == 7
    assert (tmp_path / "m_vjp" / "1" / "model.onnx").read_bytes() == before
    (tmp_path / "m_vjp" / "2").mkdir()
    assert main([*command, "--overwrite"]) == 1
    assert "no model that Pullback wrote" in capsys.readouterr().err
    assert other.is_dir() and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (["--batch", "-1"], 2, "--batch must not be negative"),
        (["--threads", "-1"], 2, "--threads must not be negative"),
        (["--name", "a/b"], 1, "not a valid model name"),
    ],
)
def test_wrong_usage(
    options: list[str], code: int, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["triton", str(FIELD), str(tmp_path / "models"), *options]) == code
    assert says in capsys.readouterr().err
    assert not (tmp_path / "models").exists()
