"""Derivatives of any order along scalar coordinates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.derivatives.kinds.request import (
    Array,
    Differentiation,
    Key,
    Quotient,
    Request,
    Shape,
    chain_name,
)
from pullback_export.errors import ExportError

MAXIMUM_ORDER = 4


class Derivative(Request):
    """A chain of scalar coordinates, order up to 4, ``(B, *out)``: ``derivative(u, x, x, t)`` is ``d3u_dx2_dt``."""

    kind = "derivative"
    orders = tuple(range(1, MAXIMUM_ORDER + 1))

    def _default_name(self) -> str:
        return chain_name(self.of, self.wrt)

    def check_shapes(self, out: Shape, into: Sequence[Shape], lead: int) -> None:
        for item, sample in zip(self.wrt, into, strict=True):
            if any(size != 1 for size in sample):
                raise ExportError(
                    f"{self}: {item} has shape {sample} per sample;"
                    f" a derivative takes scalar coordinates: {item.name}[0]"
                )

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        return tf.reshape(step.jacobian(), tf.shape(step.target))

    def below(self) -> Request | None:
        wrt = [str(item) for item in self.wrt[:-1]]
        return Derivative(str(self.of), *wrt, name="below") if wrt else None

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        direction, lead = quotient.selected, quotient.lead
        along = direction.reshape(direction.shape[:lead])
        return np.asarray(result * along.reshape(along.shape + (1,) * (result.ndim - lead)))
