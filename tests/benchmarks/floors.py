"""Forward passes of the same network by other ways: ``python -m tests.benchmarks.floors NAME WORK FOLDER``.

Writes ``NAME.onnx``, from ``x`` to ``y`` and with a free batch, into the folder, in a process of its own: what is timed
is ONNX Runtime alone. The floor of a row is the fastest of these and of Pullback's own forward graph.
"""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tests.benchmarks.failures import Refused, told
from tests.benchmarks.work import Work, row

Call = Callable[..., Any]
ROOT = pathlib.Path(__file__).parents[2]
SECONDS = 280


def open_graph(path: pathlib.Path, threads: int) -> Call:
    """ONNX Runtime with a file, called directly; it has the options that Pullback gives a file of this size."""
    import onnxruntime
    from pullback.backends.sessions import session_options

    content = path.read_bytes()
    options = session_options(len(content), threads=threads)
    run = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"]).run
    return lambda x, *seeds: run(None, {"x": x})


def open_floor(name: str) -> Callable[[Work, pathlib.Path, int], Call]:
    """An engine of the file that :func:`main` makes, which is made where it is not there."""

    def opened(work: Work, folder: pathlib.Path, threads: int) -> Call:
        path = folder / f"{name}.onnx"
        if not path.exists():
            _make(name, work, folder)
        return open_graph(path, threads)

    return opened


def _make(name: str, work: Work, folder: pathlib.Path) -> None:
    command = [sys.executable, "-m", "tests.benchmarks.floors", name, work.name, str(folder)]
    environment = {**os.environ, "KERAS_BACKEND": "torch" if name == "torch_onnx" else "tensorflow"}
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        raise Refused(f"no graph in {SECONDS} s") from None
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        raise Refused((done.stderr.strip().splitlines() or ["failed"])[-1])


def main(name: str, work: str, folder: str) -> int:
    import keras

    place = pathlib.Path(folder)
    model = keras.saving.load_model(place / "model.keras", compile=False)
    try:
        content = WAYS[name](model, row(work).shape)
    except Exception as problem:
        if not isinstance(problem, Refused):
            raise
        print(told(problem), file=sys.stderr)
        return 1
    (place / f"{name}.onnx").write_bytes(content)
    return 0


def of_tf2onnx(model: Any, shape: tuple[int, ...]) -> bytes:
    """As stock tf2onnx exports it, which also finds Keras' own recurrent cells."""
    import tensorflow as tf
    import tf2onnx

    signature = [tf.TensorSpec((None, *shape), tf.float32, name="x")]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    content: bytes = tf2onnx.convert.from_function(function, signature, opset=18)[0].SerializeToString()
    return content


def _by_hand(model: Any, shape: tuple[int, ...]) -> bytes:
    from tests.benchmarks.by_hand import by_hand

    return by_hand(model)


def of_torch(model: Any, shape: tuple[int, ...]) -> bytes:
    """By ``torch.onnx`` from the model on Keras' torch backend; recurrent layers as torch's own, with their weights."""
    import io

    import torch

    model.eval()
    module = _torch_recurrent(torch, model) if _is_recurrent(model) else _torch_module(torch, model)
    example = torch.zeros((2, *shape))
    target = io.BytesIO()
    free = {0: torch.export.Dim("B", min=1)}
    with torch.no_grad():
        program = torch.onnx.export(
            module, (example,), input_names=["x"], output_names=["y"], dynamic_shapes=(free,), opset_version=18
        )
    program.save(target)
    return target.getvalue()


def _torch_module(torch: Any, model: Any) -> Any:
    """The model as a module whose argument has a name, which free sizes need."""

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Any) -> Any:
            return self.model(x, training=False)

    return Network()


def _is_recurrent(model: Any) -> bool:
    return any(type(layer).__name__ in ("LSTM", "GRU", "SimpleRNN", "Bidirectional") for layer in model.layers)


def _torch_recurrent(torch: Any, model: Any) -> Any:
    """A recurrent layer and a column on its last state."""
    kinds = [type(layer).__name__ for layer in model.layers if type(layer).__name__ != "InputLayer"]
    if len(kinds) != 2 or kinds[0] not in _TORCH_GATES:
        raise Refused(f"no module of torch for {', '.join(kinds)}")
    layer, dense = model.layers[-2:]
    arrays = [np.asarray(weight) for weight in layer.get_weights()]
    cell = getattr(torch.nn, {"SimpleRNN": "RNN"}.get(kinds[0], kinds[0]))(
        arrays[0].shape[0], layer.units, batch_first=True
    )
    order = _TORCH_GATES[kinds[0]]

    def gates(array: Any) -> Any:
        return torch.tensor(np.concatenate([np.split(array, len(order), axis=-1)[k] for k in order], axis=-1).T)

    bias = arrays[2] if arrays[2].ndim == 2 else np.stack([arrays[2], np.zeros_like(arrays[2])])
    given = (gates(arrays[0]), gates(arrays[1]), gates(bias[0]), gates(bias[1]))
    for parameter, values in zip(cell.parameters(), given, strict=True):
        parameter.data.copy_(values)
    kernel, constant = (torch.tensor(np.asarray(weight)) for weight in dense.get_weights())

    class Network(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Any) -> Any:
            return self.cell(x)[0][:, -1] @ kernel + constant

    return Network()


# Where the gates of torch's cells stand in those of Keras: i, f, g, o of i, f, c, o; r, z, n of z, r, h.
_TORCH_GATES = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "SimpleRNN": (0,)}
WAYS: Mapping[str, Callable[[Any, tuple[int, ...]], bytes]] = {
    "tf2onnx": of_tf2onnx,
    "torch_onnx": of_torch,
    "by_hand": _by_hand,
}


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
