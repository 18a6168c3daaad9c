"""The engines: each opens the prepared files of one :class:`Work` and returns a function of NumPy arrays.

``open_engine(name, work, folder, threads)`` runs in a process of its own. Every engine returns NumPy arrays, of the
outputs and the derivative (of the product alone for ``hvp``), so that nothing is left lazy or on a device.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

from tests.benchmarks import bounds, jax_engine, openvino_engine, torch_engine
from tests.benchmarks.floors import open_floor, open_graph
from tests.benchmarks.onnx_ad_engine import open_onnx_ad
from tests.benchmarks.work import Work

Call = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Engine:
    """``title`` is what the tables say; ``open`` runs in the engine's process.

    ``packages``: modules without which it is not measured; ``installs``: what ``pip install`` needs to run it.
    """

    name: str
    title: str
    open: Callable[[Work, pathlib.Path, int], Call]
    packages: tuple[str, ...] = ()
    installs: tuple[str, ...] = ()
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def _forward(work: Work, folder: pathlib.Path, threads: int) -> Call:
    """Pullback's graph of the model alone."""
    return open_graph(folder / "forward.pullback" / "evaluate.onnx", threads)


def _bundle(backend: str) -> Callable[[Work, pathlib.Path, int], Call]:
    def open_bundle(work: Work, folder: pathlib.Path, threads: int) -> Call:
        import pullback

        if backend == "saved_model":
            _pin_tensorflow(threads)
        loaded = pullback.load(folder / "derivative.pullback", backend=backend, threads=threads)
        if work.kind == "hvp":
            hvp = loaded.hvp
            return lambda x, v: hvp(x=x, fwd_x=v)
        return loaded

    return open_bundle


def _pin_tensorflow(threads: int) -> Any:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf


def _tensorflow(compiled: str) -> Callable[[Work, pathlib.Path, int], Call]:
    def open_live(work: Work, folder: pathlib.Path, threads: int) -> Call:
        tf = _pin_tensorflow(threads)
        import keras

        model = keras.saving.load_model(folder / "model.keras", compile=False)
        derive = _tape(tf, model, work)
        if compiled:
            derive = tf.function(derive, jit_compile=compiled == "xla", autograph=False)
        return lambda *arrays: [t.numpy() for t in derive(*[tf.constant(a) for a in arrays])]

    return open_live


def _tape(tf: Any, model: Any, work: Work) -> Call:
    def target(y: Any) -> Any:
        return y if work.component is None else y[:, work.component]

    def first(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x, training=False)
            of = target(y)
        return [y, tape.gradient(of, x) if work.kind == "gradient" else tape.batch_jacobian(y, x)]

    def second(x: Any, *tangent: Any) -> list[Any]:
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = model(x, training=False)
            gradient = inner.gradient(y, x)
        if tangent:
            return [outer.gradient(gradient, x, output_gradients=tangent[0])]
        return [y, outer.batch_jacobian(gradient, x)]

    return first if work.kind in ("gradient", "jacobian") else second


def _torch(compiled: bool) -> Callable[[Work, pathlib.Path, int], Call]:
    return lambda work, folder, threads: torch_engine.open_torch(work, folder, threads, compiled)


_TF, _TORCH, _JAX = ("tensorflow", "keras"), ("torch", "keras"), ("jax", "keras")
_ORT = ("onnxruntime", "numpy")
_ON_JAX = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
_ON_TORCH = {"KERAS_BACKEND": "torch"}
ENGINES: tuple[Engine, ...] = (
    Engine("forward", "forward only, ONNX Runtime", _forward, (), _ORT),
    Engine("pullback", "Pullback, ONNX", _bundle("onnx"), (), ("pullback",)),
    Engine("tf2onnx", "tf2onnx", open_floor("tf2onnx"), ("tf2onnx",), _ORT),
    Engine("torch_onnx", "torch.onnx", open_floor("torch_onnx"), ("torch", "onnxscript"), _ORT),
    Engine("by_hand", "by hand", open_floor("by_hand"), (), _ORT),
    Engine("gemm", "a matrix product", bounds.open_gemm, (), _ORT),
    Engine("copy", "a copy", bounds.open_copy, (), ("numpy",)),
    Engine("saved_model", "Pullback, SavedModel", _bundle("saved_model"), ("tensorflow",), ("pullback", "tensorflow")),
    Engine("keras_tape", "Keras, GradientTape", _tensorflow(""), _TF, _TF),
    Engine("tf_function", "tf.function", _tensorflow("graph"), _TF, _TF),
    Engine("tf_xla", "tf.function, XLA", _tensorflow("xla"), _TF, _TF),
    Engine("onnx_ad", "onnx-ad in ONNX Runtime", open_onnx_ad, ("onnx_ad",), ("onnx-ad", "onnxruntime")),
    Engine(
        "openvino",
        "Pullback's file in OpenVINO",
        openvino_engine.open_openvino,
        ("openvino",),
        ("pullback", "openvino"),
    ),
    Engine("jax", "JAX, jit", jax_engine.open_jax, _JAX, _JAX, _ON_JAX),
    Engine("jax_export", "jax.export", jax_engine.open_exported, _JAX, _JAX, _ON_JAX),
    Engine("torch", "torch, eager", _torch(False), _TORCH, _TORCH, _ON_TORCH),
    Engine("torch_compile", "torch.compile", _torch(True), _TORCH, _TORCH, _ON_TORCH),
    Engine("aot_inductor", "AOTInductor", torch_engine.open_ahead_of_time, _TORCH, _TORCH, _ON_TORCH),
)
FLOOR = "forward"
FLOORS = (FLOOR, "tf2onnx", "torch_onnx", "by_hand")
"""Ways to the value alone; the fastest of a row is its floor."""
BOUNDS = ("gemm", "copy")
"""What the machine's limit is made of; they answer nothing."""
ALWAYS = (FLOOR, "pullback")


def engine(name: str) -> Engine:
    """The engine with that name."""
    return next(item for item in ENGINES if item.name == name)


def environment(item: Engine, threads: int) -> dict[str, str]:
    """The environment of an engine's process: as many threads as the others have, whatever library makes them."""
    count = str(threads)
    pinned = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "XLA_CPU_THREADS"), count)
    return {**os.environ, **pinned, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1", **item.environment}
