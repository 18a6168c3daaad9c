"""One row of the table of layers: how it is made, what goes in, and how often it can be differentiated."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.lowering.case import Arg


def call_with_each(layer: Any, inputs: Sequence[Any]) -> Any:
    """``layer(x)``, or ``layer([x, y])`` for several inputs."""
    return layer(inputs[0] if len(inputs) == 1 else list(inputs))


@dataclasses.dataclass(frozen=True)
class LayerRow:
    """``layer(**options)`` on ``inputs``: shapes without the batch, or :class:`Arg` with it (any batch size).

    ``free``: axes of every input whose size is free. ``order``: 1 with the gradient, 2 with second order.
    A looser ``tolerance`` needs a ``reason``.
    """

    layer: str
    inputs: tuple[tuple[int, ...] | Arg, ...]
    options: Mapping[str, Any]
    order: int = 2
    free: tuple[int, ...] = (0,)
    call: Callable[[Any, Sequence[Any]], Any] = call_with_each
    dtypes: tuple[str, ...] = ("float32", "float64")
    tolerance: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""

    def __post_init__(self) -> None:
        if self.tolerance and not self.reason:
            raise ValueError(f"{self.layer}: a looser tolerance needs a reason")
        if len(self.dtypes) == 1 and not self.reason:
            raise ValueError(f"{self.layer}: one dtype only needs a reason")

    @property
    def title(self) -> str:
        parts = [f"{key}={_short(item)}" for key, item in self.options.items()]
        sizes = "x".join(str(n) for n in self.args(2)[0].shape[1:])
        free = "" if self.free == (0,) else "-free" + "".join(map(str, self.free))
        return f"{self.layer}-{sizes}{free}-{'-'.join(parts)}"

    def args(self, batch: int) -> tuple[Arg, ...]:
        return tuple(
            dataclasses.replace(item, shape=(batch, *item.shape[1:]))
            if isinstance(item, Arg)
            else Arg((batch, *item), free=self.free)
            for item in self.inputs
        )


def _short(item: Any) -> str:
    text = getattr(item, "__name__", None) or (type(item).__name__ if hasattr(item, "get_config") else str(item))
    return text.replace(" ", "")


def layer_row(
    name: str, /, *inputs: tuple[int, ...] | Arg, row: Mapping[str, Any] | None = None, **options: Any
) -> LayerRow:
    """``layer_row("Dense", (5,), units=3, row={"order": 1})``."""
    return LayerRow(name, inputs, options, **(row or {}))
