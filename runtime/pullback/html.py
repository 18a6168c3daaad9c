"""``pullback verify --html``: one self-contained page from which to tell whether the bundle may be shipped."""

from __future__ import annotations

import base64
import datetime
import html
import io
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pullback import pictures
from pullback.bundle import Bundle
from pullback.commands import bench
from pullback.manifest import shape_text
from pullback.parity import Report, Row

_CSS = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 62rem; margin: 2.5rem auto; padding: 0 1.5rem }
h1 { font-size: 1.7rem; margin: 0 } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem }
.verdict { border-radius: .5rem; padding: .9rem 1.2rem; margin: 1.4rem 0; font-size: 1.1rem }
.passed { background: #e3f4e8; color: #14532d } .failed { background: #fde8e6; color: #8a1c12 }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums }
th { text-align: left; color: #616e7c; font-weight: 600; border-bottom: 2px solid #e4e7eb; padding: .3rem .6rem }
td { border-bottom: 1px solid #e4e7eb; padding: .3rem .6rem } td.n, th.n { text-align: right }
tr.bad td { background: #fde8e6 } code { font: .9em ui-monospace, monospace }
.note { color: #616e7c } .warning { color: #92580a } img { max-width: 100%; display: block }
.wide { overflow-x: auto }
"""


def write_report(bundle: Bundle, report: Report, target: Path) -> None:
    """Write the page for ``bundle`` whose golden samples gave ``report``; it appears at once or not at all."""
    made = target.with_name(target.name + ".new")
    made.write_text(page(bundle, report), encoding="utf-8")
    os.replace(made, target)


def page(bundle: Bundle, report: Report) -> str:
    """The whole page."""
    name = bundle.manifest.name if bundle.manifest else bundle.path.name
    parts = [
        f"<h1>{_text(name)}</h1>",
        f'<p class="note">{_text(str(bundle.path))}, checked on {_text(_machine())}</p>',
        _verdict(bundle, report),
        "<h2>What it computes</h2>",
        *(_function(function.spec) for function in bundle.functions.values()),
        "<h2>Agreement with the live model, on this machine</h2>",
        _rows(report.rows),
        *(f'<p class="warning">Warning: {_text(text)}</p>' for text in report.warnings),
        *_exported(bundle),
        "<h2>Values and errors</h2>",
        _picture(pictures.parity(bundle), "bundle against live model, and histograms of the error"),
        *_own_picture(bundle),
        "<h2>Time per call, on this machine</h2>",
        _latency(bundle),
        "<h2>Origin</h2>",
        _origin(bundle),
    ]
    head = f'<meta charset="utf-8"><title>{_text(name)}: {_word(report)}</title><style>{_CSS}</style>'
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _verdict(bundle: Bundle, report: Report) -> str:
    if report.ok:
        worst = max((row.relative_error / row.bound for row in report.rows if row.bound), default=0.0)
        text = (
            f"<b>Passed.</b> All {len(report.rows)} comparisons on {_text(bundle.backend)} agree with the live model; "
            f"the worst error is {worst:.1%} of what is allowed."
        )
        return f'<div class="verdict passed">{text}</div>'
    names = ", ".join(sorted({row.output for row in report.failures}))
    count = f"{len(report.failures)} of {len(report.rows)} comparisons are off ({_text(names)})"
    text = f"<b>Failed: do not ship.</b> {count}."
    return f'<div class="verdict failed">{text}</div>'


def _function(spec: Any) -> str:
    requests = {derivative.name: derivative.request for derivative in spec.derivatives}
    rows = [("in", t.name, t.dtype, shape_text(t.shape), "") for t in spec.inputs]
    rows += [("out", t.name, t.dtype, shape_text(t.shape), requests.get(t.name, "")) for t in spec.outputs]
    return _table((f"{spec.name}", "name", "dtype", "shape", "derivative"), rows)


def _rows(rows: Sequence[Row]) -> str:
    head = ("stage", "result", "shape", "#scale", "#max error", "#RMS error", "#relative", "#allowed", "worst at", "")
    cells = [
        (
            *(row.stage, row.output, "×".join(map(str, row.shape)), f"{row.scale:.3g}", f"{row.max_error:.1e}"),
            *(f"{row.rms_error:.1e}", f"{row.relative_error:.1e}", f"{row.bound:.0e}"),
            *(str(row.worst or ""), "ok" if row.ok else row.problem),
        )
        for row in rows
    ]
    return _table(head, cells, {i for i, row in enumerate(rows) if not row.ok})


def _exported(bundle: Bundle) -> Iterable[str]:
    """What the exporter measured, when the manifest has rows."""
    rows = bundle.manifest.parity.get("rows") if bundle.manifest else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        return []
    keys = [key for key in ("stage", "output", "scale", "max_error", "rms_error", "bound") if key in rows[0]]
    cells = [[f"{v:.2e}" if isinstance(v := row.get(key), float) else str(v) for key in keys] for row in rows]
    title = "<h2>Agreement with the live model, when it was exported</h2>"
    return [
        title,
        _table([("#" if key not in ("stage", "output") else "") + key.replace("_", " ") for key in keys], cells),
    ]


def _own_picture(bundle: Bundle) -> Iterable[str]:
    if pictures.curve_input(bundle) is not None:
        return ["<h2>Curve</h2>", _picture(pictures.curve(bundle), "results over the input")]
    if pictures.saliency_pairs(bundle):
        return ["<h2>Saliency</h2>", _picture(pictures.saliency(bundle), "an image and the size of its gradient")]
    return []


def _latency(bundle: Bundle) -> str:
    rows = []
    for function in bundle.functions.values():
        for batch in (1, 64) if function.spec.batched else (1,):
            feeds = bench.inputs(bundle, function, batch)
            times = bench.measure(function, function.fetch_names(None), feeds, 0.1)
            cells = [f"{times[key]:.1f}" for key in ("median", "p5", "p95", "p99")]
            rows.append((function.spec.name, str(batch), *cells))
    return _table(("function", "#batch", "#median µs", "#5 %", "#95 %", "#99 %"), rows)


def _origin(bundle: Bundle) -> str:
    found = bundle.manifest
    rows = [("digest", bundle.digest)]
    if found is not None:
        rows += [(name, version) for name, version in sorted(found.producer.items())]
        rows += [(f"range of {name}", f"[{low:g}, {high:g}]") for name, (low, high) in sorted(found.ranges.items())]
        rows += [(file.path, f"{file.size:,} bytes, SHA-256 {file.sha256}") for file in found.files]
    return _table(("", ""), rows)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], bad: set[int] | None = None) -> str:
    """A heading that starts with ``#`` makes a column of numbers."""
    numeric = [' class="n"' if name.startswith("#") else "" for name in head]
    lines = ["".join(f"<th{c}>{_text(n.lstrip('#'))}</th>" for c, n in zip(numeric, head, strict=True))]
    mark = ' class="bad"'
    body = [
        f"<tr{mark if bad and i in bad else ''}>"
        + "".join(f"<td{c}>{_text(cell)}</td>" for c, cell in zip(numeric, row, strict=True))
        + "</tr>"
        for i, row in enumerate(rows)
    ]
    return f'<div class="wide"><table><thead><tr>{lines[0]}</tr></thead><tbody>{"".join(body)}</tbody></table></div>'


def _picture(figure: Any, description: str) -> str:
    content = io.BytesIO()
    pictures.save(figure, content, format="png")
    data = base64.b64encode(content.getvalue()).decode("ascii")
    return f'<img alt="{_text(description)}" src="data:image/png;base64,{data}">'


def _machine() -> str:
    import onnxruntime

    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, ONNX Runtime {onnxruntime.__version__}"
    return f"{datetime.date.today().isoformat()} with {versions}, {platform.system()} {platform.machine()}"


def _word(report: Report) -> str:
    return "passed" if report.ok else "failed"


def _text(text: str) -> str:
    return html.escape(text)
