"""The number per sample that is explained, and its gradient, from whichever derivatives the bundle has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, NotExportedError
from pullback.flat.pieces import Numbers, picked
from pullback.function import Function
from pullback.manifest import DerivativeSpec, shape_text
from pullback.selection import Selection

# Which output is explained: ``"score"``, ``"logits[3]"``, ``"sum(y)"``, or one of these for each row.
Of = str | Sequence[str]


class Target:
    """``of`` at rows of ``x``. Points are ``(P, *in)``, float64, and ``rows`` says which row of ``x`` each comes from.

    Args:
        bundle: a loaded bundle.
        x: ``(B, *in)``, or one sample ``(*in,)``; without a batch axis in the model, one sample.
        of: one component or sum of an output; or a list of them, one for each row.
        wrt: the input that ``x`` is for; optional if there is only one.
        given: the other inputs, with one row or as many as ``x``.

    Raises:
        InputError: ``of`` is more than one number per row, or an input does not fit.
        NotExportedError: there is no such output.
    """

    def __init__(self, bundle: Bundle, x: Any, of: Of, wrt: str | None, given: Mapping[str, Any] | None) -> None:
        self._bundle, self._function = bundle, bundle.function("evaluate")
        self.spec = self._function.spec
        self.spec.refuse_points("explanations")
        self.wrt = self._input(wrt)
        tensor = next(t for t in self.spec.inputs if t.name == self.wrt)
        if self.wrt in self.spec.shared_inputs:
            raise InputError(
                f"{self.wrt!r} has no batch axis, all rows share it, and no row is explained by it: explain by another"
                f" input, with given={{{self.wrt!r}: ...}}, or take bundle.flat"
            )
        self.dtype = np.dtype(tensor.dtype)
        rank = len(tensor.shape) - int(self.spec.batched)
        array = self._function.convert(self.wrt, x)
        self.one = array.ndim == rank
        if array.ndim not in (rank, rank + 1):
            want = shape_text(tensor.shape)
            raise InputError(f"{self.wrt!r} must be {want}, or one sample of it, got an array of shape {array.shape}")
        self.x: Array = (array[None] if self.one else array).astype(np.float64)
        self._given = {name: self._fixed(name, value) for name, value in (given or {}).items()}
        missing = [t.name for t in self.spec.inputs if t.name not in self._given and t.name != self.wrt]
        if missing:
            raise InputError(f"{', '.join(missing)}: the other inputs need values, given={{{missing[0]!r}: ...}}")
        texts = [of] * len(self.x) if isinstance(of, str) else list(of)
        if len(texts) != len(self.x):
            raise InputError(
                f"of names {len(texts)} targets for {len(self.x)} rows; give one string, or one for each row"
            )
        self._texts = np.array(texts, dtype=object)
        self._selections = {text: self._selection(text) for text in dict.fromkeys(texts)}

    @property
    def rows(self) -> Numbers:
        """All rows of ``x``, as ``rows``."""
        return np.arange(len(self.x))

    def shaped(self, attribution: Array) -> Array:
        """``(B, ...)`` as the caller gave ``x``: with a batch axis or without."""
        return attribution[0] if self.one else attribution

    def value(self, points: Array, rows: Numbers) -> Array:
        """``(P,)``: the explained number."""
        result = np.empty(len(points))
        for selection, at in self._groups(rows):
            (output,) = self._run(self._function, (selection.name,), points[at], rows[at])
            flat = output.reshape(len(output), -1)
            result[at] = flat[:, self._numbers(selection, output.shape[1:])].sum(1)
        return result

    def gradient(self, points: Array, rows: Numbers, by: str | None = None) -> Array:
        """The derivative with respect to ``x``, or to the inner layer ``by``, ``(P, *shape of by)``.

        Raises ``NotExportedError`` if the bundle does not have it.
        """
        if not len(points):
            return np.zeros((0, *self._shape_of(by or self.wrt, points, rows)))
        parts = [(at, self._gradient(selection, points[at], rows[at], by)) for selection, at in self._groups(rows)]
        result = np.empty((len(points), *parts[0][1].shape[1:]))
        for at, part in parts:
            result[at] = part
        return result

    def activation(self, layer: str, points: Array, rows: Numbers) -> Array:
        """``(P, ...)``: the output of an inner layer."""
        return self._run(self._function, (layer,), points, rows)[0]

    def _gradient(self, selection: Selection, points: Array, rows: Numbers, by: str | None) -> Array:
        wrt = by or self.wrt
        shape = self._run(self._function, (selection.name,), points[:1], rows[:1])[0].shape[1:]
        wanted = self._numbers(selection, shape)
        for item in self.spec.derivatives:
            if item.kind in ("gradient", "jacobian") and _is_by(item, selection.name, wrt):
                at = _rows_of(item, picked(item.of_selection, shape, self.spec.batched), wanted)
                if at is not None:
                    (array,) = self._run(self._function, (item.name,), points, rows)
                    inner = self._shape_of(wrt, points[:1], rows[:1])
                    by_row = array.reshape(len(points), -1, *inner)
                    return np.asarray(by_row[:, at].sum(1) / item.scale)
        return self._by_product(selection, wanted, shape, wrt, points, rows)

    def _by_product(
        self, selection: Selection, wanted: Numbers, shape: tuple[int, ...], wrt: str, points: Array, rows: Numbers
    ) -> Array:
        function = self._bundle.functions.get("vjp")
        held = () if function is None else function.spec.requested
        item = next((d for d in held if _is_by(d, selection.name, wrt) and d.of_selection.is_whole), None)
        if function is None or item is None:
            raise NotExportedError(
                f"the bundle holds no derivative of {selection} with respect to {wrt}; export it"
                f" with 'gradient({selection}, {wrt})'"
                f" or, for every component, 'jacobian({selection.name}, {wrt})'"
            )
        seeds = {}
        for name in function.spec.seeds:
            of = name.removeprefix("adj_")
            seed = np.zeros((len(points), *self._shape_of(of, points[:1], rows[:1])))
            if name == item.seed:
                seed.reshape(len(points), -1)[:, wanted] = 1
            seeds[name] = seed
        (product,) = self._run(function, (item.name,), points, rows, seeds)
        return product / item.scale

    def _run(
        self,
        function: Function,
        names: tuple[str, ...],
        points: Array,
        rows: Numbers,
        seeds: Mapping[str, Array] | None = None,
    ) -> list[Array]:
        """Results with ``P`` in front, float64: one call, or one call a point where the model has no batch axis."""
        feeds: dict[str, Any] = {self.wrt: points.astype(self.dtype), **(seeds or {})}
        if self.spec.batched:
            feeds |= {name: self._of_rows(name, array, rows) for name, array in self._given.items()}
            return [np.asarray(result, np.float64) for result in function(**feeds, fetch=names)]
        given: dict[str, Any] = self._given
        calls = [
            function(fetch=names, **{name: array[at] for name, array in feeds.items()} | given)
            for at in range(len(points))
        ]
        return [np.stack([np.asarray(call[at], np.float64) for call in calls]) for at in range(len(names))]

    def _of_rows(self, name: str, given: Array, rows: Numbers) -> Array:
        """A fixed input at ``rows``; whole where they share it."""
        if name in self.spec.shared_inputs:
            return given
        return np.repeat(given, len(rows), 0) if len(given) == 1 else given[rows]

    def _shape_of(self, name: str, point: Array, rows: Numbers) -> tuple[int, ...]:
        return point.shape[1:] if name == self.wrt else self._run(self._function, (name,), point, rows)[0].shape[1:]

    def _groups(self, rows: Numbers) -> list[tuple[Selection, Numbers]]:
        texts = self._texts[rows]
        groups = [(selection, np.flatnonzero(texts == text)) for text, selection in self._selections.items()]
        return [(selection, at) for selection, at in groups if len(at)]

    def _numbers(self, selection: Selection, shape: tuple[int, ...]) -> Numbers:
        try:
            numbers = picked(selection, shape, self.spec.batched)
        except IndexError as error:
            raise InputError(f"{selection} is not in the shape {shape} of {selection.name}; count from 0") from error
        if len(numbers) != 1 and not selection.summed:
            name = selection.name
            raise InputError(
                f"{selection} has {len(numbers)} components, but only one number can be explained: of='{name}[0]' or"
                f" 'sum({name})'"
            )
        return numbers

    def _input(self, wrt: str | None) -> str:
        held = [tensor.name for tensor in self.spec.inputs]
        if wrt is None and len(held) > 1:
            raise InputError(f"wrt must say which input x is for: {', '.join(held)}; the others go into given")
        if wrt is not None and wrt not in held:
            raise InputError(f"there is no input {wrt!r}; the inputs are {', '.join(held)}")
        name = wrt or held[0]
        tensor = next(t for t in self.spec.inputs if t.name == name)
        if not tensor.dtype.startswith("float"):
            raise InputError(
                f"{name!r} is {tensor.dtype}; only float inputs have derivatives, explain an embedding of it"
            )
        return name

    def _fixed(self, name: str, value: Any) -> Array:
        tensor = next((t for t in self.spec.inputs if t.name == name), None)
        if tensor is None or name == self.wrt:
            raise InputError(f"given: {name!r} is not another input of the model; remove it")
        array = self._function.convert(name, value)
        if not self.spec.batched or name in self.spec.shared_inputs:
            return array
        array = array[None] if array.ndim == len(tensor.shape) - 1 else array
        if array.ndim != len(tensor.shape) or len(array) not in (1, len(self.x)):
            raise InputError(f"given {name!r} must have 1 row or {len(self.x)}; got an array of shape {array.shape}")
        return array

    def _selection(self, text: str) -> Selection:
        try:
            selection = Selection.parse(text)
        except (ValueError, AttributeError) as error:
            raise InputError(f"of must name a number of the output: y, y[2] or sum(y); got {text!r}") from error
        names = [tensor.name for tensor in self.spec.outputs]
        if selection.name not in names:
            raise NotExportedError(f"there is no output {selection.name!r}; the bundle holds {', '.join(names)}")
        return selection


def _is_by(item: DerivativeSpec, of: str, wrt: str) -> bool:
    return item.of == of and item.wrt == (wrt,) and item.wrt_selections[0].is_whole


def _rows_of(item: DerivativeSpec, held: Numbers, wanted: Numbers) -> Numbers | None:
    """Which rows of a derivative of the components ``held`` add up to that of the components ``wanted``."""
    if item.kind == "gradient" or item.of_selection.summed:
        return np.zeros(1, np.int64) if sorted(held) == sorted(wanted) else None
    places = {int(number): at for at, number in enumerate(held)}
    if not all(int(number) in places for number in wanted):
        return None
    return np.array([places[int(number)] for number in wanted], np.int64)


def per_block(rows: int, sample: tuple[int, ...], limit: int = 1 << 22) -> int:
    """How many points of a ``sample`` shape are held together: at most ``limit`` numbers, and at least one point."""
    return max(1, min(rows, limit // max(1, math.prod(sample))))
