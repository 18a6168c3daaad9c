"""Value and gradient of an LSTM against its forward pass: ``python -m tests.benchmarks.recurrent``.

LSTM(64) over 200 steps of 16 features. Targets: value and gradient at most 3 times the forward loop; 4 times the steps
at most 4.4 times the time; faster than live Keras, ``tf.function`` and its SavedModel signature in the same process.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
from pullback_export.graph.dims import Dim
from pullback_export.graph.serialization import to_model
from pullback_export.lowering.converter import Converter
from pullback_export.optimize.pipeline import finish, new_graph

UNITS, STEPS, FEATURES = 64, 200, 16


def model() -> Any:
    """The network, with a free number of steps."""
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((None, FEATURES)), keras.layers.LSTM(UNITS), keras.layers.Dense(1)])


def value(net: Any) -> Callable[[Any], list[Any]]:
    return lambda x: [net(x, training=False)]


def value_and_gradient(net: Any) -> Callable[[Any], list[Any]]:
    def evaluate(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = net(x, training=False)
        return [y, tape.gradient(y, x)]

    return evaluate


def exported(function: Callable[[Any], list[Any]]) -> onnx.ModelProto:
    concrete = tf.function(function).get_concrete_function(tf.TensorSpec([None, None, FEATURES]))
    graph = new_graph()
    x = graph.input("x", np.dtype(np.float32), (Dim.atom("B"), Dim.atom("T"), FEATURES))
    converter = Converter()
    outputs = converter.convert(concrete.graph, [x], graph)
    converter.check()
    graph.outputs = [(f"y{index}", value) for index, value in enumerate(outputs)]
    finish(graph)
    return to_model(graph, 18, {})


def session(proto: onnx.ModelProto) -> Callable[[np.ndarray[Any, Any]], Any]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    runner = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: runner.run(None, {"x": x})


def microseconds(function: Callable[[Any], Any], x: Any, seconds: float = 3.0) -> float:
    """The least processor time of a call: what else the machine does counts as little as possible."""
    for _ in range(3):
        function(x)
    times: list[float] = []
    end = time.process_time() + seconds
    while time.process_time() < end or len(times) < 5:
        start = time.process_time()
        function(x)
        times.append(time.process_time() - start)
    return float(min(times)) * 1e6


def measure() -> Mapping[tuple[str, int, int], float]:
    """Microseconds by what is run, batch and steps."""
    net = model()
    gradient = value_and_gradient(net)
    compiled = tf.function(gradient, input_signature=[tf.TensorSpec([None, None, FEATURES])])
    runners = {
        "forward": session(exported(value(net))),
        "value and gradient": session(exported(gradient)),
        "live Keras": lambda x: [item.numpy() for item in gradient(tf.constant(x))],
        "tf.function": lambda x: [item.numpy() for item in compiled(tf.constant(x))],
    }
    rng = np.random.default_rng(0)
    results: dict[tuple[str, int, int], float] = {}
    for batch in (1, 32):
        for steps in (STEPS, 4 * STEPS):
            x = rng.normal(size=(batch, steps, FEATURES)).astype(np.float32)
            for name, runner in runners.items():
                if name in ("forward", "value and gradient") or steps == STEPS:
                    results[name, batch, steps] = microseconds(runner, x)
    return results


def main() -> None:
    results = measure()
    for (name, batch, steps), time_of in results.items():
        print(f"{name:20} batch {batch:3} steps {steps:4}: {time_of:10.0f} us")
    for batch in (1, 32):
        both = results["value and gradient", batch, STEPS]
        ratio = both / results["forward", batch, STEPS]
        growth = results["value and gradient", batch, 4 * STEPS] / both
        print(
            f"batch {batch}: {ratio:.2f} x the forward loop (at most 3); 4 times the steps {growth:.2f} (at most 4.4)"
        )


if __name__ == "__main__":
    main()
