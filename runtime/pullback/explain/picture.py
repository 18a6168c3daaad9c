"""Pictures of attributions: bars for features, maps for images. Needs ``pip install "pullback[plot]"``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.errors import InputError, MissingDependencyError

POSITIVE, NEGATIVE = "#2166ac", "#d6604d"


def plot(
    attribution: Any, x: Any = None, *, batch: bool = False, names: Sequence[str] | None = None, title: str = ""
) -> Any:
    """A matplotlib figure of the attributions of one sample, blue where positive and red where negative.

    Args:
        attribution: ``(n,)``: bars; ``(H, W)`` or ``(H, W, C)``, whose channels are added up: a map.
        x: the picture that is explained, drawn under the map, which is stretched to its size.
        batch: whether both have a leading batch axis; each sample gets a panel.
        names: of the features, for bars.
        title: above the figure.

    Raises:
        InputError: a shape is not one of these. MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError('pictures need matplotlib: pip install "pullback[plot]"') from error
    array = np.asarray(attribution, np.float64)
    panels = [panel.sum(-1) if panel.ndim == 3 else panel for panel in (array if batch else array[None])]
    if not panels or not array.size or panels[0].ndim not in (1, 2):
        raise InputError(f"plot takes (n,), (H, W) or (H, W, C), with batch=True a row of them; got {array.shape}")
    pictures = [None] * len(panels) if x is None else list(np.asarray(x) if batch else np.asarray(x)[None])
    if len(pictures) != len(panels):
        raise InputError(
            f"x holds {len(pictures)} samples, and there are attributions of {len(panels)}; give"
            " the same number of both"
        )
    maps = panels[0].ndim == 2
    figure = Figure(figsize=((2.6 if maps else 4.2) * len(panels), 2.8), layout="constrained")
    largest = float(np.abs(panels).max()) or 1.0
    for axes, panel, picture in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, pictures, strict=True):
        if maps:
            _map(axes, panel, picture, largest)
        else:
            _bars(axes, panel, names)
    figure.suptitle(title)
    return figure


def _map(axes: Any, panel: Array, picture: Any, largest: float) -> None:
    height, width = panel.shape if picture is None else picture.shape[:2]
    extent = (0, width, height, 0)
    if picture is not None:
        axes.imshow(picture.mean(-1) if picture.ndim == 3 else picture, cmap="gray_r", extent=extent)
    alpha = None if picture is None else 0.65
    axes.imshow(panel, cmap="RdBu", vmin=-largest, vmax=largest, extent=extent, alpha=alpha)
    axes.set(xticks=[], yticks=[])


def _bars(axes: Any, panel: Array, names: Sequence[str] | None) -> None:
    labels = [str(index) for index in range(len(panel))] if names is None else list(names)
    if len(labels) != len(panel):
        raise InputError(f"names: {len(labels)} names for {len(panel)} features; give one for each")
    axes.barh(range(len(panel)), panel, color=[POSITIVE if number >= 0 else NEGATIVE for number in panel])
    axes.set_yticks(range(len(panel)), labels)
    axes.invert_yaxis()
    axes.axvline(0, color="#7b8794", linewidth=0.8)
