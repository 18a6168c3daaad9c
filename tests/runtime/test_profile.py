"""``pullback bench --profile``: each node's own time, of the calls that count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pullback
import pytest
from pullback.commands.profile import by_operator, nodes, profile

NET = Path(__file__).parent / "fixtures" / "net.pullback"


def run(start: int) -> dict[str, Any]:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": 90}


def kernel(name: str, op: str, start: int, microseconds: int, *shape: int) -> dict[str, Any]:
    described = {"op_name": op, "output_type_shape": [{"float": list(shape)}]}
    return {"cat": "Node", "name": f"{name}_kernel_time", "ts": start, "dur": microseconds, "args": described}


def test_runs_before_those_that_count_are_excluded() -> None:
    events = [run(0), kernel("a", "Mul", 1, 50, 2), run(100), kernel("a", "Mul", 101, 8, 2), kernel("b", "Add", 110, 2)]
    first, second = nodes(events, 1, 2)
    assert (first.op, first.node, first.us, first.share, first.shape) == ("Mul", "a", 4.0, 0.8, (2,))
    assert (second.op, second.us) == ("Add", 1.0)


def test_loop_has_its_own_time_without_its_body() -> None:
    body = [kernel("step", "Mul", start, 10) for start in (15, 40)]
    events = [run(0), kernel("loop", "Scan", 10, 60), *body, kernel("after", "Add", 70, 5)]
    assert {entry.node: entry.us for entry in nodes(events, 0, 1)} == {"loop": 40.0, "step": 20.0, "after": 5.0}


def test_operators_gather_their_nodes() -> None:
    events = [run(0), kernel("a", "Mul", 1, 10), kernel("b", "Add", 20, 15), kernel("c", "Mul", 40, 25)]
    assert [(e.op, e.count, e.us, e.share) for e in by_operator(nodes(events, 0, 1))] == [
        ("Mul", 2, 35.0, 0.7),
        ("Add", 1, 15.0, 0.3),
    ]


@pytest.mark.parametrize("batch", [1, 5000])
def test_nodes_of_a_real_call(batch: int) -> None:
    """Large batches run in chunks, as a call does it."""
    bundle = pullback.load(NET, threads=1)
    function = bundle.functions["evaluate"]
    feeds = {t.name: np.zeros((batch, *t.shape[1:]), t.dtype) for t in function.spec.inputs}
    found = profile(bundle, function, function.fetch_names(None), feeds, 2)
    sizes = {batch, function.rows_at_a_time(batch), batch % function.rows_at_a_time(batch)}
    assert {entry.shape[0] for entry in found if len(entry.shape) > 1} <= sizes
    assert sum(entry.share for entry in found) == pytest.approx(1)
