"""Makes the files that the engines read: ``python -m tests.benchmarks.prepare WORK FOLDER``, one row in one process."""

from __future__ import annotations

import inspect
import json
import pathlib
import sys
import time
from typing import Any

import keras
import numpy as np
import onnx
from pullback_export import export

from tests.benchmarks import work


def main(name: str, folder: str) -> int:
    chosen, place = work.row(name), pathlib.Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    keras.utils.set_random_seed(1)
    model = chosen.build()
    settle(model)
    model.save(place / "model.keras")
    tolerance = 2e-4 if np.prod(chosen.shape) > 10_000 else None  # a hundred layers of random weights
    # Large networks take minutes on a busy machine: the limit is for what hangs.
    options: dict[str, Any] = {"outputs": ["y"], "overwrite": True, "tolerance": tolerance, "time_limit": 3600}
    known = inspect.signature(export).parameters  # an earlier exporter (see against) has fewer options
    options = {key: value for key, value in options.items() if key in known}
    export(model, place / "forward.pullback", [], formats=("onnx",), **options)
    start = time.perf_counter()
    export(model, place / "derivative.pullback", [chosen.request], **options)
    facts = {"export_seconds": time.perf_counter() - start, **sizes(place)}
    (place / "facts.json").write_text(json.dumps(facts))
    return 0


def settle(model: Any) -> None:
    """Statistics as training would leave them: with zeros and ones, part of the work would vanish."""
    rng = np.random.default_rng(3)
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            for variable, (middle, spread) in zip(layer.weights, ((1, 0.1), (0, 0.1), (0, 0.1), (1, 0.1)), strict=True):
                variable.assign(middle + spread * rng.uniform(-1, 1, variable.shape))


def sizes(place: pathlib.Path) -> dict[str, Any]:
    """Bytes and nodes of both graphs."""
    found: dict[str, Any] = {}
    for name in ("forward", "derivative"):
        folder = place / f"{name}.pullback"
        path = folder / "hvp.onnx" if (folder / "hvp.onnx").exists() else folder / "evaluate.onnx"
        found[f"{name}_bytes"] = path.stat().st_size
        found[f"{name}_nodes"] = len(onnx.load(path).graph.node)
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
