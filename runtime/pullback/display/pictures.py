"""Pictures of a bundle, with matplotlib: the curve of a one-dimensional input, saliency, parity."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.display.notebook import scalar_input
from pullback.errors import InputError, MissingDependencyError
from pullback.manifest import TensorSpec

INK, BLUE, ORANGE, GRAY, PALE = "#1f2933", "#2166ac", "#d6604d", "#7b8794", "#e4e7eb"

_PANELS = 3  # side by side

_STYLE = {
    **{"font.size": 10, "font.family": "sans-serif", "axes.edgecolor": GRAY, "axes.labelcolor": INK},
    **{"axes.spines.top": False, "axes.spines.right": False, "axes.titlesize": 11, "axes.titlelocation": "left"},
    **{"xtick.color": GRAY, "ytick.color": GRAY, "text.color": INK, "legend.frameon": False},
    **{"figure.constrained_layout.use": True, "savefig.dpi": 160, "lines.linewidth": 2.0, "svg.fonttype": "path"},
}


def draw(bundle: Bundle, target: Path, kind: str | None = None) -> str:
    """Write one picture and give its kind; raises ``InputError`` when the bundle has none of that kind."""
    chosen = kind or ("curve" if curve_input(bundle) else "saliency" if saliency_pairs(bundle) else "parity")
    save({"curve": curve, "saliency": saliency, "parity": parity}[chosen](bundle), target)
    return chosen


def save(figure: Any, target: Any, **options: Any) -> None:
    """Write ``figure`` to a path or an open file."""
    with _style():
        figure.savefig(target, **options)


def _style() -> Any:
    """The look of every picture, as a context; raises ``MissingDependencyError``."""
    try:
        import matplotlib
    except ImportError as error:
        raise MissingDependencyError('pictures need matplotlib: pip install "pullback[plot]"') from error
    return matplotlib.rc_context(_STYLE)


def _styled(make: Callable[[Bundle], Any]) -> Callable[[Bundle], Any]:
    @functools.wraps(make)
    def made(bundle: Bundle) -> Any:
        with _style():
            return make(bundle)

    return made


def curve_input(bundle: Bundle) -> TensorSpec | None:
    """The input, where there is one float number per sample and nothing else."""
    return scalar_input(bundle.spec)


def saliency_pairs(bundle: Bundle) -> list[tuple[TensorSpec, str]]:
    """Image-like inputs, each with the name of a gradient of the same shape."""
    spec = bundle.spec
    inputs = {tensor.name: tensor for tensor in spec.inputs}
    outputs = {tensor.name: tensor for tensor in spec.outputs}
    pairs = []
    for derivative in spec.derivatives:
        tensor = inputs.get(derivative.wrt[0])
        image = tensor is not None and spec.batch_axes == 1 and len(tensor.shape) in (3, 4)
        if image and derivative.kind == "gradient" and tensor and outputs[derivative.name].shape == tensor.shape:
            pairs.append((tensor, derivative.name))
    return pairs


@_styled
def curve(bundle: Bundle) -> Any:
    """Every result over the range of the samples."""
    tensor = curve_input(bundle)
    if tensor is None:
        raise InputError(
            f"{bundle.path}: a curve needs a single input of one number per sample; plot the results of a call"
        )
    low, high = bundle.span(tensor.name)
    x = np.linspace(low, high, 401)
    results = bundle(x.reshape(-1, *(1 for _ in tensor.shape[1:])).astype(tensor.dtype))
    requests = {derivative.name: derivative.request for derivative in bundle.spec.derivatives}
    figure, axes = _subplots(len(results._fields), 1, (6.4, 1.2 + 1.9 * len(results._fields)), sharex=True)
    for axis, (name, values) in zip(axes, results._asdict().items(), strict=True):
        axis.axhline(0, color=PALE, linewidth=1, zorder=0)
        axis.plot(x, values.reshape(len(x), -1), color=ORANGE if name in requests else BLUE)
        axis.set_title(
            f"{name}: {requests[name]}" if name in requests else f"{name}: output of the model", fontweight="bold"
        )
        axis.margins(y=0.12)
    axes[-1].set_xlabel(tensor.name)
    axes[-1].set_xlim(low, high)
    return figure


@_styled
def saliency(bundle: Bundle) -> Any:
    """A golden image next to the size of the gradient with respect to its pixels."""
    pairs = saliency_pairs(bundle)
    if not pairs:
        raise InputError(f"{bundle.path}: saliency needs a gradient with respect to an image-like input; export one")
    case = bundle.samples()["evaluate"][0]
    figure, axes = _subplots(len(pairs), 2, (7.4, 3.5 * len(pairs)))
    for row, (tensor, name) in enumerate(pairs):
        image, slope = case.inputs[tensor.name][0], case.outputs[name][0]
        left, right = axes[2 * row], axes[2 * row + 1]
        left.imshow(_grey(image, "mean"), cmap="gray")
        left.set_title(f"{tensor.name}, a sample", fontweight="bold")
        shown = right.imshow(_grey(slope, "norm"), cmap="magma", vmin=0)
        right.set_title(f"|{name}|: what counts for the result", fontweight="bold")
        figure.colorbar(shown, ax=right, shrink=0.85).outline.set_visible(False)
        for axis in (left, right):
            axis.set_xticks([])
            axis.set_yticks([])
            axis.spines[:].set_visible(False)
    return figure


@_styled
def parity(bundle: Bundle) -> Any:
    """For each result the answers of this machine over the live model's, and below how large the errors are."""
    pairs = parity_pairs(bundle)
    columns = min(len(pairs), _PANELS)
    bands = math.ceil(len(pairs) / columns)
    figure, axes = _subplots(2 * bands, columns, (max(3.1 * columns, 4.4) + 0.4, 5.4 * bands))
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08)
    for axis in axes:
        axis.set_visible(False)
    for number, (name, (want, got)) in enumerate(pairs.items()):
        band, column = divmod(number, columns)
        above, below = axes[2 * band * columns + column], axes[(2 * band + 1) * columns + column]
        bound = bundle.tolerance.of(_dtype(bundle, name))
        _scatter(above, name, want, got, bound, f"this machine, {bundle.backend}" if column == 0 else "")
        _errors(below, want, got, bound, column == 0)
    return figure


def _scatter(axis: Any, name: str, want: Array, got: Array, bound: float, label: str) -> None:
    """One value over the other; those that are not allowed are marked."""
    from matplotlib.ticker import MaxNLocator

    axis.set_visible(True)
    finite = np.isfinite(want) & np.isfinite(got)
    want, got = want[finite], got[finite]
    ends = (want.min(), want.max()) if want.size else (0.0, 1.0)
    axis.plot(ends, ends, color=GRAY, linewidth=1, alpha=0.5, zorder=0)
    off = np.abs(got - want) > bound * np.abs(want).max(initial=0.0)
    for chosen, colour in ((~off, BLUE), (off, ORANGE)):
        axis.plot(want[chosen], got[chosen], "o", color=colour, markersize=4, alpha=0.6, markeredgewidth=0)
    axis.set_title(name, fontweight="bold")
    axis.set_xlabel("trained model")
    axis.set_ylabel(label)
    for one in (axis.xaxis, axis.yaxis):
        one.set_major_locator(MaxNLocator(4))
    axis.ticklabel_format(scilimits=(-3, 4))


def _errors(axis: Any, want: Array, got: Array, bound: float, first: bool) -> None:
    """How many values have an error of what size; what lies beyond the line is not allowed."""
    from matplotlib.ticker import MaxNLocator

    axis.set_visible(True)
    scale = float(np.abs(want[np.isfinite(want)]).max(initial=0.0)) or 1.0
    with np.errstate(invalid="ignore"):
        error = np.abs(got - want) / scale
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    error = np.where(same, 0.0, np.where(np.isfinite(error), error, np.inf))
    limit = math.log10(bound) if bound else -16.0
    low, high = limit - 6, limit + 2
    places = np.clip(np.log10(np.where(error > 0, error, 10.0**low)), low, high - 1e-9)
    counts, edges = np.histogram(places, bins=32, range=(low, high))
    beyond = edges[:-1] >= limit - 1e-9
    axis.axvspan(limit, high, color=ORANGE, alpha=0.12, linewidth=0)
    axis.bar(edges[:-1], counts, np.diff(edges), align="edge", color=np.where(beyond, ORANGE, BLUE))
    axis.axvline(limit, color=ORANGE, linewidth=1.5)
    axis.text(limit, 1.02, f"allowed {bound:.0e}", transform=axis.get_xaxis_transform(), color=ORANGE, ha="center")
    ticks = [low, low + 2, low + 4, limit]
    axis.set_xticks(ticks, ["equal", *(f"{10**tick:.0e}".replace("e-0", "e-") for tick in ticks[1:])])
    axis.set_xlim(low, high)
    axis.set_xlabel("error, relative to the largest value")
    axis.set_ylabel("number of values" if first else "")
    axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))


def _dtype(bundle: Bundle, name: str) -> str:
    tensors = [tensor for function in bundle.functions.values() for tensor in function.spec.outputs]
    return next(tensor.dtype for tensor in tensors if tensor.name == name)


def parity_pairs(bundle: Bundle) -> dict[str, tuple[Array, Array]]:
    """Golden and measured values of every result, flat and as float64, by name."""
    found: dict[str, tuple[list[Array], list[Array]]] = {}
    for function, cases in bundle.samples().items():
        call: Callable[..., Any] = bundle.functions[function]
        for case in cases:
            actual = call(**case.inputs, fetch=tuple(case.outputs))._asdict()
            for name, want in case.outputs.items():
                pair = found.setdefault(name, ([], []))
                pair[0].append(np.ravel(want).astype(np.float64))
                pair[1].append(np.ravel(actual[name]).astype(np.float64))
    return {name: (np.concatenate(want), np.concatenate(got)) for name, (want, got) in found.items()}


def _grey(image: Array, how: str) -> Array:
    """An image of shape (rows, columns), its channels averaged or their norm taken."""
    flat = image.astype(np.float64)
    if flat.ndim == 3:
        flat = np.sqrt((flat**2).sum(-1)) if how == "norm" else flat.mean(-1)
    return np.abs(flat) if how == "norm" else flat


def _subplots(rows: int, columns: int, size: tuple[float, float], **options: Any) -> tuple[Any, list[Any]]:
    """A figure that needs no display, and its axes row by row."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=size)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, list(axes.ravel())
