"""Where ONNX Runtime spends the time of a call, by its own profiler."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.function import Function

WARM_UP = 2


@dataclasses.dataclass(frozen=True)
class Entry:
    """Microseconds of a call in one node, or in all nodes of one operator; ``share`` is of all nodes together.

    ``shape`` is that of the node's first result. ``us`` of a loop or a branch is its own, without the nodes inside.
    """

    op: str
    node: str
    us: float
    share: float
    count: int = 1
    shape: tuple[int, ...] = ()


def profile(
    bundle: Bundle, function: Function, names: tuple[str, ...], feeds: Mapping[str, Array], calls: int
) -> list[Entry]:
    """All nodes that ran, the slowest first; a large batch runs in chunks, as a call does it."""
    parts = list(_parts(function, feeds))
    with tempfile.TemporaryDirectory() as folder:
        session = bundle.session(function.spec.name, fetch=names, profile=str(Path(folder) / "profile"))
        for _ in range(WARM_UP + calls):
            for part in parts:
                session.run(list(names), part)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return nodes(events, WARM_UP * len(parts), calls)


def nodes(events: Iterable[Mapping[str, Any]], skipped: int, calls: int) -> list[Entry]:
    """Of a profile's events, without the first ``skipped`` runs, microseconds of each node divided by ``calls``."""
    events = list(events)
    starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")
    begin = starts[skipped] if skipped < len(starts) else 0
    kernels = [e for e in events if e.get("cat") == "Node" and e["name"].endswith("_kernel_time") and e["ts"] >= begin]
    spent: dict[tuple[str, str, Any], float] = defaultdict(float)  # the index tells apart nodes without a name
    shapes: dict[tuple[str, str, Any], tuple[int, ...]] = {}
    for event, microseconds in _own_times(kernels):
        arguments = event["args"]
        key = arguments["op_name"], event["name"].removesuffix("_kernel_time"), arguments.get("node_index")
        spent[key] += microseconds / calls
        shapes[key] = _shape(arguments.get("output_type_shape"))
    return _ordered([Entry(*key[:2], us, 0.0, 1, shapes[key]) for key, us in spent.items()])


def by_operator(entries: Iterable[Entry]) -> list[Entry]:
    """The nodes of each operator together; ``count`` says how many."""
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.op].append(entry)
    return _ordered([Entry(op, "", sum(e.us for e in group), 0.0, len(group)) for op, group in groups.items()])


def _ordered(entries: list[Entry]) -> list[Entry]:
    total = sum(entry.us for entry in entries) or 1.0
    shared = [dataclasses.replace(entry, share=entry.us / total) for entry in entries]
    return sorted(shared, key=lambda entry: -entry.us)


def _parts(function: Function, feeds: Mapping[str, Array]) -> Iterable[dict[str, Array]]:
    if not function.spec.rowwise:
        yield dict(feeds)
        return
    batch = len(next(iter(feeds.values())))
    rows = function.rows_at_a_time(batch)
    for start in range(0, batch, rows):
        yield {name: array[start : start + rows] for name, array in feeds.items()}


def _own_times(kernels: list[Mapping[str, Any]]) -> Iterable[tuple[Mapping[str, Any], float]]:
    """Each event with its time minus that of the events inside it: a loop's own event spans those of its body."""
    inside: list[list[Any]] = []  # open events, the outermost first: [event, end, microseconds inside]
    for event in sorted(kernels, key=lambda item: (item["ts"], -item["dur"])):
        while inside and event["ts"] >= inside[-1][1]:
            closed, _, within = inside.pop()
            yield closed, max(closed["dur"] - within, 0)
        if inside:
            inside[-1][2] += event["dur"]
        inside.append([event, event["ts"] + event["dur"], 0])
    for closed, _, within in inside:
        yield closed, max(closed["dur"] - within, 0)


def _shape(described: Any) -> tuple[int, ...]:
    """``[{"float": [8, 3]}]`` is ``(8, 3)``."""
    if not isinstance(described, list) or not described or not isinstance(described[0], dict):
        return ()
    return tuple(next(iter(described[0].values()), ()))
