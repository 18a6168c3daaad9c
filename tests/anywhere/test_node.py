"""Golden bundles in ONNX Runtime Web under Node: the graphs alone, read from the bundle's folder."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.parity import Report, compare
from pullback.web.encoding import array_data

from tests.anywhere.conftest import BUNDLES

pytestmark = pytest.mark.slow


def array(described: dict[str, Any]) -> np.ndarray[Any, Any]:
    data = np.frombuffer(base64.b64decode(described["data"]), described["dtype"])
    return data.reshape(described["shape"])


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.stem)
def test_golden_numbers(node: Path, path: Path) -> None:
    bundle = pullback.load(path)
    cases = [(name, case) for name, found in bundle.samples().items() for case in found]
    asked = {
        "graphs": {name: str(path / f"{name}.onnx") for name in bundle.functions},
        "cases": [
            {"function": name, "inputs": {key: array_data(value) for key, value in case.inputs.items()}}
            for name, case in cases
        ],
    }
    done = subprocess.run(
        ["node", "replay.mjs"], cwd=node, input=json.dumps(asked), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers = json.loads(done.stdout)
    report = Report()
    for (name, case), answer in zip(cases, answers, strict=True):
        found = {key: array(value) for key, value in answer.items()}
        report += compare(case.outputs, found, bundle.tolerance, stage=name)
    assert report.rows
    assert report.ok, report
