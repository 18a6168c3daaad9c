"""The base class of the derivative kinds. A kind is one class: adding one takes the class, its row and its law.

``docs/format.md`` and the table in ``docs/derivatives.md`` name the kinds;
:data:`pullback_export.derivatives.kinds.KINDS` holds them.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Container, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from pullback.selection import Selection

from pullback_export.derivatives.selection import parse_selection
from pullback_export.errors import ExportError

Array = np.ndarray[Any, Any]
# Equal keys, equal tensors.
Key = tuple[Any, ...]
# Per sample; None is a free size.
Shape = tuple[int | None, ...]


class Seed(NamedTuple):
    """An extra input, and the input or output whose shape and dtype it has."""

    name: str
    owner: Selection


class Differentiation(Protocol):
    """One differentiation of ``target`` on a tape; see :class:`~pullback_export.derivatives.tape_step.Step`."""

    @property
    def target(self) -> Any:
        """What is differentiated."""

    def gradient(self) -> Any:
        """One reverse pass of the sum over ``target``."""

    def vjp(self, seed: Any) -> Any:
        """One reverse pass of ``seed``."""

    def jvp(self, tangent: Any) -> Any:
        """``tangent`` pushed forward."""

    def jacobian(self) -> Any:
        """``(B, *target, *in)``."""

    def trace(self) -> Any:
        """Sum of the unmixed second derivatives, where ``target`` is a Jacobian."""

    def trace_of(self, hessian: Any) -> Any:
        """The same from a Hessian."""


class Quotient(Protocol):
    """Central differences of :meth:`Request.below` at some inputs; see ``gate/difference_quotient.py``."""

    @property
    def inputs(self) -> dict[str, Array]:
        """By name, seeds included."""

    @property
    def lead(self) -> int:
        """Number of batch axes of ``of``: 0, 1, or 2 where rows meet points."""

    @property
    def lead_in(self) -> int:
        """That of the last input: less where all rows or points share it."""

    @property
    def missing(self) -> tuple[int, ...]:
        """Those of the batch axes that the last input has not."""

    @property
    def selected(self) -> Array:
        """What the last selection picks of the direction, ``(B, *in)``: in every row where all rows share it."""

    @property
    def direction(self) -> Array:
        """In the shape of the last input; zero outside the selection of the request."""

    def picked(self, selection: Selection) -> tuple[Any, ...]:
        """The selection as an index of a whole array."""

    def along(self, direction: Array, step: float) -> tuple[Array, Array]:
        """The difference quotient along ``direction``, and the difference between the one-sided ones."""

    def noise(self, step: float) -> float:
        """What rounding does to one component of a difference quotient."""


@dataclasses.dataclass(frozen=True, init=False)
class Request:
    """One derivative of the output ``of`` with respect to the inputs ``wrt``; the result is multiplied by ``scale``.

    ``name`` replaces the result's default name. ``mode``: ``"reverse"``, ``"forward"`` or None for the cheaper one.
    ``chunk``: the largest number of directions computed at once (limits memory).
    """

    of: Selection
    wrt: tuple[Selection, ...]
    scale: float
    name: str
    mode: str | None
    chunk: int | None

    # The word in texts and in the manifest, the graph that holds the result, and how many inputs may be named.
    kind: ClassVar[str] = ""
    function: ClassVar[str] = "evaluate"
    orders: ClassVar[tuple[int, ...]] = (1,)
    # Results of one name are added up (an input's adjoint by several outputs).
    adds_up: ClassVar[bool] = False
    # A tape is passed once: TensorFlow need not keep it.
    one_pass: ClassVar[bool] = False
    # Many seeds become one graph by tf.vectorized_map.
    vectorised: ClassVar[bool] = False
    # Computed after the others of its order, whose results it may use.
    after_others: ClassVar[bool] = False
    # Where rows of a batch influence each other, it is still something: that of the sum over the batch.
    sums_over_batch: ClassVar[bool] = False
    # It is defined by an input that all rows share.
    by_shared: ClassVar[bool] = True
    # Central differences take one for each component of the input.
    differs_by_component: ClassVar[bool] = False

    def __init__(
        self,
        of: str,
        *wrt: str,
        scale: float = 1.0,
        name: str | None = None,
        mode: str | None = None,
        chunk: int | None = None,
    ) -> None:
        if len(wrt) not in self.orders:
            allowed = " or ".join(map(str, self.orders))
            raise ExportError(f"{self.kind}({', '.join((of, *wrt))}): give {allowed} input name(s) after the output")
        if mode not in (None, "forward", "reverse"):
            raise ExportError(f"{self.kind}: mode must be 'forward', 'reverse' or None, got {mode!r}")
        if chunk is not None and chunk < 1:
            raise ExportError(f"{self.kind}: chunk must be a positive number of directions, got {chunk!r}")
        object.__setattr__(self, "of", parse_selection(of))
        object.__setattr__(self, "wrt", self._complete(tuple(parse_selection(item) for item in wrt)))
        object.__setattr__(self, "scale", float(scale))
        object.__setattr__(self, "mode", mode)
        object.__setattr__(self, "chunk", chunk)
        object.__setattr__(self, "name", name or self._default_name())

    def _complete(self, wrt: tuple[Selection, ...]) -> tuple[Selection, ...]:
        return wrt

    def _default_name(self) -> str:
        raise NotImplementedError(self.kind)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, (self.of, *self.wrt)))})"

    def again(self, scale: float, name: str) -> Request:
        """The same derivative under another scale and name."""
        other = copy.copy(self)
        object.__setattr__(other, "scale", float(scale))
        object.__setattr__(other, "name", name)
        return other

    # What it is.

    def resolved(self, out: Shape) -> Request:
        """The request for an ``of`` of this shape per sample: this one, or one of another class."""
        return self

    @property
    def order(self) -> int:
        """How many times ``of`` is differentiated."""
        return len(self.wrt)

    @property
    def seeds(self) -> tuple[Seed, ...]:
        """The extra inputs, in calling order."""
        return ()

    @property
    def seed(self) -> str | None:
        """The extra input that the manifest names, the last, if the kind has one."""
        return self.seeds[-1].name if self.seeds else None

    def is_total(self, shared: Container[str]) -> bool:
        """Whether the result is a sum over the rows, where ``shared`` are the inputs that all rows share."""
        return False

    def check_shapes(self, out: Shape, into: Sequence[Shape], lead: int) -> None:
        """Raises :class:`ExportError` if the shape of ``of``, or of the selection of a ``wrt``, is invalid.

        Shapes are those of one sample; ``lead`` counts the batch axes before them.
        """

    # How it is computed.

    @property
    def path(self) -> tuple[Selection, ...]:
        """``wrt`` in the order in which it is differentiated; once where that is the same each time."""
        return self.wrt

    def key(self, order: int) -> Key:
        """Identifies the result of the first ``order`` differentiations; requests with equal keys share it."""
        path = self.path if len(self.path) > 1 else self.path * max(self.order, 1)
        return self._step_name(order), self.of, path[:order], self.mode, self.chunk

    def _step_name(self, order: int) -> str:
        return self.kind

    def differentiate(
        self, step: Differentiation, level: int, seeds: Mapping[str, Any], results: Mapping[Key, Any]
    ) -> Any:
        """The differentiation after ``level`` others; ``results`` holds the earlier results, by key."""
        raise NotImplementedError(self.kind)

    @property
    def byproducts(self) -> tuple[Request, ...]:
        """The result after the first differentiation, which the same graph provides at no extra cost."""
        return ()

    # How central differences check it.

    def below(self) -> Request | None:
        """The function one order below, whose differences are taken; None if that is ``of`` itself."""
        return None

    @property
    def direction_seed(self) -> str | None:
        """The seed along which differences are taken; None for a random direction."""
        return None

    def predicted(self, result: Array, quotient: Quotient) -> Array:
        """The compared quantity according to ``result``, the derivative: contracted with the direction.

        ``(B, *rest, *in)`` with ``(B, *in)`` gives ``(B, *rest)``.
        """
        direction, lead = quotient.selected, quotient.lead
        axes = direction.ndim - lead
        between = (1,) * (result.ndim - lead - axes)
        product = result * direction.reshape(direction.shape[:lead] + between + direction.shape[lead:])
        return np.asarray(product.sum(axis=tuple(range(product.ndim - axes, product.ndim)))) if axes else product

    def measured(self, quotient: Quotient, step: float) -> tuple[Array, Array]:
        """The compared quantity by central differences, and the difference between the one-sided ones."""
        return quotient.along(quotient.direction, step)


def chain_name(of: Selection, wrt: tuple[Selection, ...]) -> str:
    """``d2u_dx_dt``, ``d3u_dx2_dt``."""
    counts: dict[str, int] = {}
    for item in wrt:
        counts[item.label] = counts.get(item.label, 0) + 1
    order = f"{len(wrt)}" if len(wrt) > 1 else ""
    below = "_".join(f"d{label}{count if count > 1 else ''}" for label, count in counts.items())
    return f"d{order}{of.label}_{below}"
