"""A model repository of NVIDIA Triton: for each function a folder with ``config.pbtxt`` and ``1/model.onnx``.

The text is that of ``ModelConfig`` in
https://github.com/triton-inference-server/common/blob/main/protobuf/model_config.proto . What Triton asks of it is in
``ValidateIOShape`` of core's ``src/model_config_utils.cc`` and ``CompareDimsSupported`` of the ONNX Runtime backend.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pullback.bundle import Bundle
from pullback.errors import InputError
from pullback.manifest import FunctionSpec, TensorSpec
from pullback.serving.datatypes import DATATYPES, models, sizes
from pullback.texts import STRING

CONFIG, GRAPH = "config.pbtxt", "1/model.onnx"
FILES = frozenset({CONFIG, "1", GRAPH})


def write(
    bundle: Bundle, repository: Path, name: str | None = None, batch: int = 256, threads: int = 1, replace: bool = False
) -> dict[str, Path]:
    """Write one model for each function into ``repository``, each at once or not at all; gives their folders by name.

    Args:
        bundle: its functions are the models ``bowl_evaluate``, ``bowl_vjp``, ...
        repository: the folder that Triton is started with; made where there is none.
        name: what the models' names begin with, else the bundle's name.
        batch: the largest batch, of functions whose rows may be computed apart.
        threads: threads of one call; 0: ONNX Runtime's default.
        replace: a model of the same name, where it is one that this function wrote.

    Raises:
        InputError: there is such a model, or Triton has no word for a shape.
        NotExportedError: a function without an ONNX graph.
    """
    found = models(bundle, name)
    contents = {
        model: (config(model, bundle.functions[function].spec, batch, threads), bundle.graph(function))
        for model, function in found.items()
    }
    for model in contents:
        _check_place(repository / model, replace)
    repository.mkdir(parents=True, exist_ok=True)
    for model, (text, graph) in contents.items():
        _write_model(repository / model, text, graph)
    return {model: repository / model for model in contents}


def config(model: str, spec: FunctionSpec, batch: int = 256, threads: int = 1) -> str:
    """The text of ``config.pbtxt``: the same for the same specification.

    Raises:
        InputError: an axis of size 0, which Triton refuses.
    """
    batch = batch if spec.rowwise else 0
    lines = [f"name: {_string(model)}", 'backend: "onnxruntime"', f"max_batch_size: {batch}"]
    for kind, tensors in (("input", spec.inputs), ("output", spec.outputs)):
        for tensor in tensors:
            lines += [f"{kind} {{", *(f"  {line}" for line in _tensor(tensor, batch > 0)), "}"]
    if batch > 1:
        lines.append("dynamic_batching { }")
    lines.append("instance_group { kind: KIND_CPU count: 1 }")
    parameters = {f"pullback.{item.name}": item.request for item in spec.derivatives}
    if threads:
        parameters["intra_op_thread_count"] = str(threads)
    for key, value in parameters.items():
        lines.append(f"parameters {{ key: {_string(key)} value {{ string_value: {_string(value)} }} }}")
    return "\n".join(lines) + "\n"


def _tensor(tensor: TensorSpec, batched: bool) -> Sequence[str]:
    """Name, dtype and shape of one tensor; without its batch axis where Triton adds that.

    Triton has no shape without axes. Of a batch of numbers, ``reshape`` takes the axis of size 1 away again; a single
    number is an axis of size 1 to the client, and the backend gives the graph a scalar.
    """
    dims = sizes(tensor.shape)[1 if batched else 0 :]
    if 0 in dims:
        raise InputError(f"{tensor}: Triton refuses axes of size 0; export the model without this input or output")
    lines = [f"name: {_string(tensor.name)}", f"data_type: {_data_type(tensor.dtype)}"]
    lines.append(f"dims: [ {', '.join(map(str, dims or [1]))} ]")
    return [*lines, "reshape { shape: [ ] }"] if batched and not dims else lines


def _data_type(dtype: str) -> str:
    return "TYPE_STRING" if dtype == STRING else f"TYPE_{DATATYPES[dtype]}"


def _string(text: str) -> str:
    """A string of protobuf's text format; JSON's ASCII form is one for what names and requests hold."""
    return json.dumps(text)


def _check_place(folder: Path, replace: bool) -> None:
    if not folder.exists() and not folder.is_symlink():
        return
    if not replace:
        raise InputError(f"{folder}: exists; --overwrite replaces it")
    held = {item.relative_to(folder).as_posix() for item in folder.rglob("*")} if folder.is_dir() else {"a file"}
    if folder.is_symlink() or not held <= FILES:
        raise InputError(f"{folder}: exists and is no model that Pullback wrote; choose another name with --name")


def _write_model(folder: Path, text: str, graph: bytes) -> None:
    """The old model goes when the new one is whole; a Triton that polls the repository may log the folder before."""
    made = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        (made / CONFIG).write_text(text, encoding="utf-8", newline="\n")
        (made / GRAPH).parent.mkdir()
        (made / GRAPH).write_bytes(graph)
        made.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(made, folder)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise
