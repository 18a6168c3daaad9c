"""``pullback verify --html``: one self-contained page from which to tell whether the bundle may be shipped."""

from __future__ import annotations

import base64
import datetime
import html
import io
import math
import os
import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.commands import bench
from pullback.display import pictures
from pullback.manifest import shape_text
from pullback.parity import Report, Row

_CSS = """
:root { --ink: #1f2933; --soft: #616e7c; --line: #e4e7eb; --good: #14532d; --bad: #9b1c1c }
body { font: 15px/1.55 system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: #f5f7fa; margin: 0 }
main { max-width: 62rem; margin: 0 auto; padding: 2.2rem 1.5rem 4rem }
section, .card { background: #fff; border: 1px solid var(--line); border-radius: .7rem }
section { padding: .4rem 1.4rem 1.3rem; margin: 1.2rem 0 }
h1 { font-size: 1.8rem; margin: 0 0 .2rem } h2 { font-size: 1.15rem; margin: 1rem 0 .4rem }
h3 { font-size: 1rem; margin: 1.1rem 0 .3rem }
.note { color: var(--soft); margin: .2rem 0 .8rem } .warning { color: #92580a }
.verdict { display: flex; gap: 1.1rem; align-items: center; padding: 1.1rem 1.4rem; margin: 1.3rem 0 }
.verdict { border-radius: .7rem }
.verdict .mark { font-size: 2.3rem; line-height: 1 } .verdict b { display: block; font-size: 1.35rem }
.passed { background: #def3e4; color: var(--good) } .failed { background: #fde3e1; color: var(--bad) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; margin: 1.2rem 0 }
.card { padding: .8rem 1rem }
.card span { color: var(--soft); font-size: .85rem; display: block } .card strong { font-size: 1.3rem; display: block }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums }
th { text-align: left; color: var(--soft); font-weight: 600; border-bottom: 2px solid var(--line) }
th, td { padding: .3rem .6rem } td { border-bottom: 1px solid var(--line); vertical-align: top }
td.n, th.n { text-align: right } td.n, td.name, td.short { white-space: nowrap }
td.name { font-weight: 600 } td.long { overflow-wrap: anywhere }
tr.bad td { background: #fde3e1; color: var(--bad) } tr:last-child td { border-bottom: 0 }
.bar { display: inline-block; width: 6rem; height: .6rem; background: var(--line); margin-right: .5rem }
.bar i { display: block; height: 100%; background: #2f855a } tr.bad .bar i { background: var(--bad) }
img { max-width: 100%; display: block; margin: .6rem auto }
.wide { overflow-x: auto } @media print { body { background: #fff } section { break-inside: avoid } }
"""


def write_report(bundle: Bundle, report: Report, target: Path) -> None:
    """Write the page for ``bundle`` whose golden samples gave ``report``; it appears at once or not at all."""
    made = target.with_name(target.name + ".new")
    made.write_text(page(bundle, report), encoding="utf-8")
    os.replace(made, target)


def page(bundle: Bundle, report: Report) -> str:
    """The whole page."""
    name = bundle.manifest.name if bundle.manifest else bundle.path.name
    times = _latencies(bundle)
    parts = [
        f"<h1>{_text(name)}</h1>",
        f'<p class="note">{_text(str(bundle.path))}<br>checked on {_text(_machine())}</p>',
        _verdict(bundle, report),
        _cards(bundle, report, times),
        _section(
            "What it computes",
            "Inputs and results: outputs of the model and their derivatives. B is the number of samples in a call.",
            *(_function(function.spec) for function in bundle.functions.values()),
        ),
        _section(
            "Agreement with the trained model, on this machine",
            "The samples that were recorded at the export, computed here and compared with the trained model's "
            "answers. The error is that of the worst value, relative to the largest value of the result.",
            _rows(report.rows),
            *(f'<p class="warning">Warning: {_text(text)}</p>' for text in report.warnings),
        ),
        _section(
            "Values and errors",
            "Above: on the line, this machine and the trained model agree. "
            "Below: errors left of the red line are allowed.",
            _picture(pictures.parity(bundle), "this machine against the trained model, and histograms of the error"),
        ),
        *_own_picture(bundle),
        *_exported(bundle),
        _section(
            "Time per call, on this machine",
            "Half of the calls were faster than the median, 95 of 100 faster than 95 %.",
            _latency(times),
        ),
        _section("Origin", "Every file was read and has the checksum that was written at the export.", _origin(bundle)),
    ]
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{_text(name)}: '
    head += f"{_word(report)}</title><style>{_CSS}</style>"
    return f'<!DOCTYPE html><html lang="en"><head>{head}</head><body><main>{"".join(parts)}</main></body></html>\n'


def _section(title: str, note: str, *parts: str) -> str:
    return f'<section><h2>{_text(title)}</h2><p class="note">{_text(note)}</p>{"".join(parts)}</section>'


def _verdict(bundle: Bundle, report: Report) -> str:
    if report.ok:
        text = (
            "<b>Passed: may be shipped to machines like this one.</b> "
            f"All {len(report.rows)} comparisons on {_text(bundle.backend)} agree with the trained model; the worst "
            f"error is {_share(_worst(report))} of what is allowed."
        )
        if report.warnings:
            text += f" Look at the warnings first: there are {len(report.warnings)}."
        return f'<div class="verdict passed"><span class="mark">✔</span><div>{text}</div></div>'
    names = ", ".join(sorted({row.output for row in report.failures}))
    text = (
        f"<b>Failed: do not ship.</b> {len(report.failures)} of {len(report.rows)} comparisons are off "
        f"({_text(names)}): on this machine the bundle gives other numbers than the trained model. Export it again, or "
        "compare the versions under Origin with those that are installed here."
    )
    return f'<div class="verdict failed"><span class="mark">✘</span><div>{text}</div></div>'


def _worst(report: Report) -> float:
    """The largest error as a part of what is allowed; infinite where a value is missing or must be equal."""
    shares = [row.relative_error / row.bound if row.bound else math.inf for row in report.rows if row.relative_error]
    return max((math.inf if math.isnan(share) else share for share in shares), default=0.0)


def _share(value: float) -> str:
    """As a percentage; as a multiple where it is beyond all bounds."""
    if not math.isfinite(value):
        return "no part"
    return f"{value:.1%}" if value < 10 else f"{value:,.0f} times"


def _cards(bundle: Bundle, report: Report, times: Sequence[Times]) -> str:
    good = sum(row.ok for row in report.rows)
    derivatives = sum(len(function.spec.derivatives) for function in bundle.functions.values())
    cards = [
        ("comparisons passed", f"{good} of {len(report.rows)}"),
        ("worst error, of what is allowed", _share(_worst(report)).replace("no part", "not a number")),
        ("derivatives", str(derivatives)),
        ("one call", f"{times[0][2]['median']:,.0f} µs"),
    ]
    if bundle.manifest is not None:
        cards.append(("size of the files", _bytes(sum(file.size for file in bundle.manifest.files))))
    shown = "".join(f'<div class="card"><span>{_text(a)}</span><strong>{_text(b)}</strong></div>' for a, b in cards)
    return f'<div class="cards">{shown}</div>'


def _bytes(size: int) -> str:
    power = min(max(len(str(size)) - 1, 0) // 3, 3)
    return f"{size / 1000**power:,.3g} {('bytes', 'kB', 'MB', 'GB')[power]}"


def _function(spec: Any) -> str:
    requests = {derivative.name: derivative.request for derivative in spec.derivatives}
    seeds = spec.seeds
    rows = [("input", t.name, "seed" if t.name in seeds else "", t.dtype, shape_text(t.shape)) for t in spec.inputs]
    rows += [
        ("result", t.name, requests.get(t.name, "output of the model"), t.dtype, shape_text(t.shape))
        for t in spec.outputs
    ]
    per = f"derivatives are {'those ' * (not spec.batched)}{spec.granularity}"
    return f"<h3>{_text(spec.name)}: {_text(per)}</h3>" + _table(("", "*name", "what", "dtype", "shape"), rows)


def _rows(rows: Sequence[Row]) -> str:
    head = (
        "~sample set",
        "*result",
        "values",
        "#largest value",
        "#error",
        "#allowed",
        "~error, of what is allowed",
        "",
    )
    lines = []
    for row in rows:
        function, _, case = row.stage.partition("/")
        share = row.relative_error / row.bound if row.bound else math.inf if row.max_error else 0.0
        bar = f'<span class="bar"><i style="width: {min(share, 1):.1%}"></i></span>'
        shown = Markup(bar + _text(_share(share))) if math.isfinite(share) else ""
        numbers = (f"{row.scale:.3g}", f"{row.relative_error:.1e}", f"{row.bound:.0e}")
        size = "×".join(map(str, row.shape)) or "1"
        lines.append((f"{function} {case}", row.output, size, *numbers, shown, "ok" if row.ok else row.problem))
    return _table(head, lines, {i for i, row in enumerate(rows) if not row.ok})


# Columns of the exporter's rows; bundles of older exporters have fewer.
_MEASURED = {
    "stage": "compared",
    "output": "*result",
    "reference": "with",
    "scale": "#largest value",
    "max_error": "#error of the bundle, absolute",
    "live_error": "#error of the live model, absolute",
    "bound": "#allowed, relative",
}


def _measured(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.1e}" if isinstance(value, float) else str(value) or "live model"


def _exported(bundle: Bundle) -> Iterable[str]:
    """What the exporter measured, when the manifest has rows."""
    rows = bundle.manifest.parity.get("rows") if bundle.manifest else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows) or not rows:
        return []
    keys = [key for key in _MEASURED if any(key in row for row in rows)]
    cells = [[_measured(row.get(key)) for key in keys] for row in rows]
    head = [_MEASURED[key] for key in keys]
    note = (
        "What the exporter measured before it wrote the bundle: of each kind of comparison the worst. Where the truth,"
        " the model's own graph in float64, is known, the errors of the bundle and of the live model are both from it."
    )
    return [_section("Agreement with the trained model, at the export", note, _table(head, cells))]


def _own_picture(bundle: Bundle) -> Iterable[str]:
    if pictures.curve_input(bundle) is not None:
        note = "Every result over the range of the samples: does it look like what you expect of the model?"
        return [_section("Curve", note, _picture(pictures.curve(bundle), "results over the input"))]
    if pictures.saliency_pairs(bundle):
        note = "A sample, and how much the result changes with each of its pixels: bright pixels count."
        return [_section("Saliency", note, _picture(pictures.saliency(bundle), "an image and its gradient"))]
    return []


# Function, batch, and microseconds of a call by percentile.
Times = tuple[str, int, dict[str, float]]


def _latencies(bundle: Bundle) -> list[Times]:
    found = []
    for function in bundle.functions.values():
        for batch in (1, 64) if function.spec.batched else (1,):
            feeds = bench.inputs(bundle, function, batch)
            found.append(
                (
                    function.spec.name,
                    batch,
                    bench.measure(function, function.fetch_names(None), feeds, 0.1, function.spec.shared_inputs),
                )
            )
    return found


def _latency(times: Sequence[Times]) -> str:
    rows = [
        (
            name,
            str(batch),
            *(f"{found[key]:,.1f}" for key in ("median", "p5", "p95", "p99")),
            f"{found['rows_per_second']:,.0f}",
        )
        for name, batch, found in times
    ]
    return _table(("function", "#samples", "#median µs", "#5 %", "#95 %", "#99 %", "#samples per s"), rows)


def _origin(bundle: Bundle) -> str:
    found = bundle.manifest
    rows: list[tuple[str, ...]] = []
    if found is not None:
        rows += [(f"written with {name}", version) for name, version in sorted(found.producer.items())]
        rows += [
            (f"samples of {name}", f"from {low:g} to {high:g}") for name, (low, high) in sorted(found.ranges.items())
        ]
        rows += [(file.path, f"{file.size:,} bytes, SHA-256 {file.sha256}") for file in found.files]
    return _table(("~", "%"), [*rows, ("digest of the bundle", bundle.digest)])


class Markup(str):
    """Text that is HTML already."""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], bad: set[int] | None = None) -> str:
    """A heading begins with the kind of its column: ``#`` numbers, ``*`` names, ``~`` short words, ``%`` long ones."""
    kinds = {"#": "n", "*": "name", "~": "short", "%": "long"}
    classes = [f' class="{kinds[name[0]]}"' if name[:1] in kinds else "" for name in head]
    top = "".join(f"<th{c}>{_text(n.lstrip('#*~%'))}</th>" for c, n in zip(classes, head, strict=True))
    lines, mark = [], ' class="bad"'
    for i, row in enumerate(rows):
        cells = "".join(f"<td{c}>{_text(cell)}</td>" for c, cell in zip(classes, row, strict=True))
        lines.append(f"<tr{mark if bad and i in bad else ''}>{cells}</tr>")
    return f'<div class="wide"><table><thead><tr>{top}</tr></thead><tbody>{"".join(lines)}</tbody></table></div>'


def _picture(figure: Any, description: str) -> str:
    content = io.BytesIO()
    pictures.save(figure, content, format="png")
    data = base64.b64encode(content.getvalue()).decode("ascii")
    width = round(float(figure.get_figwidth()) * 90)
    return f'<img alt="{_text(description)}" width="{width}" src="data:image/png;base64,{data}">'


def _machine() -> str:
    import onnxruntime

    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, ONNX Runtime {onnxruntime.__version__}"
    return f"{datetime.date.today().isoformat()} with {versions}, {platform.system()} {platform.machine()}"


def _word(report: Report) -> str:
    return "passed" if report.ok else "failed"


def _text(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text)
