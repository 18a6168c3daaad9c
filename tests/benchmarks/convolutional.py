"""Value and gradient of convolutional networks over their forward pass: ``python -m tests.benchmarks.convolutional``.

One thread on one processor, batch 1, graphs as exported without the gate. All are timed in turn in one process: each
number is the median of the ratios of neighbours, which a busy machine disturbs least. Times are processor time.
``before``: without the rewrites of convolutional networks. ``no blocks``: with ONNX Runtime's ``extended``
optimisation, which leaves its blocked layout of channels out. Names of networks as arguments: only these.
``--publish``: into the table of this processor in ``docs/benchmarks.md``; rows that were not measured stay.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import keras
import numpy as np
import onnx
import onnxruntime
from pullback_export.lowering.rules.layers import pooling
from pullback_export.optimize import pipeline
from pullback_export.optimize.final import blocked_channels
from pullback_export.optimize.local import identities

from tests.benchmarks import convolutional_page
from tests.benchmarks.convolutional_page import Line
from tests.benchmarks.prepare import settle
from tests.exporter.optimize.test_counts import exported

L = keras.layers
REWRITES = ("factor_before_mask", "affine_channels", "spread_late", "hard_swish", "fused_gelu")
ALL = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
EXTENDED = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED


@dataclasses.dataclass(frozen=True)
class Network:
    """``aim``: the largest ratio of value and gradient to the forward pass that counts as reached, if there is one."""

    name: str
    side: int
    aim: float | None

    def __str__(self) -> str:
        return f"{self.name}, {self.side} x {self.side}"

    @property
    def request(self) -> str:
        return "gradient(y, x)" if self.name == "UNet" else "gradient(y[0], x)"


NETWORKS = (
    Network("ResNet50", 224, 2.2),
    Network("MobileNetV2", 224, 2.6),
    Network("EfficientNetB0", 224, 2.4),
    Network("DenseNet121", 224, 2.5),
    Network("ConvNeXtTiny", 224, 2.5),
    Network("UNet", 160, 2.5),
    Network("MobileNetV3Small", 224, None),
    Network("MobileNetV3Large", 224, None),
)


def unet(side: int) -> Any:
    """Four stages down and up, two 3x3 convolutions with BatchNormalization and relu each; the mean of the map."""

    def block(value: Any, width: int) -> Any:
        for _ in range(2):
            value = L.ReLU()(L.BatchNormalization()(L.Conv2D(width, 3, padding="same", use_bias=False)(value)))
        return value

    x = keras.Input((side, side, 3), name="x")
    hidden, kept = x, []
    for width in (32, 64, 128, 256):
        kept.append(block(hidden, width))
        hidden = L.MaxPooling2D(2)(kept[-1])
    hidden = block(hidden, 512)
    for width in (256, 128, 64, 32):
        hidden = block(L.Concatenate()([L.Conv2DTranspose(width, 2, strides=2)(hidden), kept.pop()]), width)
    return keras.Model(x, L.GlobalAveragePooling2D()(L.Conv2D(1, 1)(hidden)))


def model(network: Network) -> Any:
    keras.utils.set_random_seed(1)
    if network.name == "UNet":
        built = unet(network.side)
    else:
        x = keras.Input((network.side, network.side, 3), name="x")
        application = getattr(keras.applications, network.name)
        built = application(weights=None, input_tensor=x, classifier_activation=None)
    settle(built)
    return built


@contextlib.contextmanager
def without_rewrites() -> Iterator[None]:
    """The exporter as it was before them."""
    final = tuple(row for row in pipeline.FINAL if row.name not in REWRITES)
    rules = {name: rule for name, rule in identities._RULES.items() if name != "And"}
    with (
        mock.patch.object(pipeline, "FINAL", final),
        mock.patch.object(identities, "_RULES", rules),
        mock.patch.object(pooling, "_are_tiles", return_value=False),
        mock.patch.object(blocked_channels, "made_by", return_value=None),
    ):
        yield


def opened(content: bytes, level: Any = ALL, saved: str = "") -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if saved:
        options.optimized_model_filepath = saved
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def layout_changes(content: bytes) -> Counter[str]:
    """How often the optimised graph enters (``ReorderInput``) and leaves (``ReorderOutput``) the blocked layout."""
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimised.onnx")
        opened(content, saved=path)
        found = Counter(node.op_type for node in onnx.load(path).graph.node)
    return Counter({name: found[name] for name in ("ReorderInput", "ReorderOutput")})


@contextlib.contextmanager
def pinned() -> Iterator[None]:
    """This thread on one processor, where the system lets one choose: its caches then stay its own."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def seconds(run: Callable[[], Any]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def measure(network: Network, rounds: int) -> tuple[dict[str, tuple[float, float]], dict[str, Counter[str]]]:
    """Least milliseconds and median ratio to the forward pass of each graph; layout changes."""
    net = model(network)
    contents = {"forward": exported(net), "gradient": exported(net, network.request)}
    with without_rewrites():
        contents |= {"forward before": exported(net), "before": exported(net, network.request)}
    graphs = {name: graph.SerializeToString() for name, graph in contents.items()}
    sessions = {name: opened(content) for name, content in graphs.items()}
    sessions["no blocks"] = opened(graphs["gradient"], EXTENDED)
    x = np.random.default_rng(0).uniform(-1, 1, (1, network.side, network.side, 3)).astype(np.float32)
    times = {name: np.empty(rounds) for name in sessions}
    with pinned():
        for turn in range(-1, rounds):
            # In turn forwards and backwards: what follows a larger graph finds less of its own in the caches.
            for name, session in list(sessions.items())[:: 1 if turn % 2 else -1]:
                taken = seconds(lambda session=session: session.run(None, {"x": x}))  # type: ignore[misc]
                if turn >= 0:
                    times[name][turn] = taken
    ratios = {name: float(np.median(taken / times["forward"])) for name, taken in times.items()}
    least = {name: (float(taken.min()) * 1e3, ratios[name]) for name, taken in times.items()}
    return least, {name: layout_changes(graphs[name]) for name in ("forward", "gradient", "before")}


def line(network: Network, rounds: int = 16) -> Line:
    """Measured now."""
    found, changes = measure(network, rounds)
    ratios = {name: ratio for name, (_, ratio) in found.items()}
    return Line(
        str(network),
        found["forward"][0],
        network.aim,
        ratios["gradient"],
        ratios["before"],
        ratios["forward before"],
        ratios["no blocks"],
        changes["gradient"]["ReorderInput"],
        changes["gradient"]["ReorderOutput"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.convolutional")
    parser.add_argument("names", nargs="*", choices=[[], *(network.name for network in NETWORKS)], metavar="NETWORK")
    parser.add_argument("--publish", action="store_true", help="write the rows into docs/benchmarks.md")
    options = parser.parse_args()
    print(f"{convolutional_page.processor()}\n\n{convolutional_page.heading()}")
    for network in NETWORKS:
        if options.names and network.name not in options.names:
            continue
        measured = line(network)
        print(measured.cells(time.strftime("%Y-%m-%d")), flush=True)
        if options.publish:
            convolutional_page.publish([measured], [str(item) for item in NETWORKS])


if __name__ == "__main__":
    main()
