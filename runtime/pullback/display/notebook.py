"""What a notebook shows of a bundle: its signatures, the verdict of the export, and a curve where that says something.

Names and texts come from files and are escaped; nothing is fetched, and nothing runs in the browser.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.manifest import FunctionSpec, Manifest, TensorSpec, shape_text

_WIDTH, _HEIGHT, _POINTS = 320, 150, 121
_COLOURS = ("#2166ac", "#d6604d", "#5aae61", "#9970ab")
_CELL = 'style="text-align:left;padding:2px 12px 2px 0;vertical-align:top"'


def scalar_input(spec: FunctionSpec) -> TensorSpec | None:
    """The input, where there is one float number per sample and nothing else."""
    if len(spec.inputs) != 1 or not spec.batched or spec.name != "evaluate":
        return None
    tensor = spec.inputs[0]
    fixed = math.prod(dim for dim in tensor.shape[1:] if isinstance(dim, int))
    free = [dim for dim in tensor.shape if isinstance(dim, str)]
    return tensor if free == ["B"] and fixed == 1 and tensor.dtype.startswith("float") else None


def page(title: str, backend: str, functions: Sequence[FunctionSpec], manifest: Manifest | None, picture: str) -> str:
    """One block of HTML; ``picture`` is HTML already."""
    parts = [f"<div><strong>{_text(title)}</strong> <span style='opacity:.65'>pullback.Bundle, {_text(backend)}</span>"]
    if manifest is not None:
        parts.append(_verdict(manifest.parity))
    parts += [_function(spec) for spec in functions]
    return "".join([*parts, picture, "</div>"])


def curve(spec: FunctionSpec, span: tuple[float, float], call: Callable[[Array], Any]) -> str:
    """Every scalar result over the single input as an SVG; empty where there is nothing to draw.

    ``span`` is from where to where, ``call`` the function.
    """
    tensor = scalar_input(spec)
    if tensor is None:
        return ""
    x = np.linspace(*span, _POINTS)
    results = call(x.astype(tensor.dtype).reshape(-1, *(1 for _ in tensor.shape[1:])))._asdict()
    lines = {
        n: y.reshape(-1).astype(np.float64) for n, y in results.items() if y.size == x.size and y.dtype.kind == "f"
    }
    values = [y[np.isfinite(y)] for y in lines.values()]
    drawn = np.concatenate(values) if values else np.zeros(0)
    return _svg(tensor.name, span, lines, float(drawn.min()), float(drawn.max())) if drawn.size else ""


def _svg(name: str, span: tuple[float, float], lines: Mapping[str, Array], low: float, high: float) -> str:
    height = high - low or 1.0
    down, across = _HEIGHT / height, _WIDTH / (_POINTS - 1)
    parts = []
    if low < 0 < high:
        parts.append(f'<line x1="0" x2="{_WIDTH}" y1="{high * down:.1f}" y2="{high * down:.1f}" stroke="#ccc"/>')
    legend = []
    for number, (label, y) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        pen, commands = "M", []
        for index, value in enumerate(y):
            if math.isfinite(value):
                commands.append(f"{pen}{index * across:.1f} {(high - value) * down:.1f}")
            pen = "L" if math.isfinite(value) else "M"  # a gap where it is not finite
        parts.append(f'<path d="{" ".join(commands)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        legend.append(f'<span style="color:{colour}">&#9632;</span> {_text(label)}')
    box = f'viewBox="-4 -4 {_WIDTH + 8} {_HEIGHT + 8}" width="{_WIDTH + 8}" height="{_HEIGHT + 8}"'
    label = f"{', '.join(lines)} over {name}"
    note = (
        f"{' &nbsp; '.join(legend)} &nbsp; over {_text(name)} from {span[0]:g} to {span[1]:g}; {low:.3g} to {high:.3g}"
    )
    return f'<svg role="img" aria-label="{_text(label)}" {box}>{"".join(parts)}</svg><div>{note}</div>'


def _verdict(parity: Mapping[str, object]) -> str:
    """What the export measured, as far as the manifest says it."""
    rows = parity.get("rows")
    count = len(rows) if isinstance(rows, list) else 0
    good = parity.get("ok") is True
    text = "agrees with the trained model" if good else "does not agree with the trained model"
    detail = f" ({count} comparisons at the export)" if count else ""
    colour, mark = ("#14532d", "&#10004;") if good else ("#9b1c1c", "&#10008;")
    return f'<div style="color:{colour}">{mark} {text}{detail}</div>'


def _function(spec: FunctionSpec) -> str:
    requests = {derivative.name: derivative.request for derivative in spec.derivatives}
    rows = [(tensor, "seed" if tensor.name in spec.seeds else "input") for tensor in spec.inputs]
    rows += [(tensor, requests.get(tensor.name, "output")) for tensor in spec.outputs]
    cells = "".join(
        f"<tr><td {_CELL}><code>{_text(t.name)}</code></td><td {_CELL}>{_text(f'{t.dtype} {shape_text(t.shape)}')}</td>"
        f"<td {_CELL}>{_text(what)}</td></tr>"
        for t, what in rows
    )
    return f"<table><caption style='text-align:left'><code>{_text(spec.name)}</code></caption>{cells}</table>"


def _text(text: str) -> str:
    return html.escape(text)
