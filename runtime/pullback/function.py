"""One function of a bundle as a callable: arguments in, a named tuple of arrays out."""

from __future__ import annotations

import collections
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pullback.backends import Array
from pullback.backends.table import Backend
from pullback.calls.directions import Directions
from pullback.calls.guards import Guard
from pullback.calls.rows import Choice
from pullback.errors import InputError, NotExportedError
from pullback.inputs import Binder
from pullback.manifest import FunctionSpec, shape_text

# Prepared choices of results that are kept besides the one of all results; each may hold a session.
KEPT_RUNS = 8


@functools.cache
def result_class(fields: tuple[str, ...]) -> Any:
    """The named tuple with these fields; the same class for the same fields."""
    base: Any = collections.namedtuple("Result", fields)  # type: ignore[misc]  # the names are known at run time only
    return type("Result", (base,), {"__slots__": (), "__reduce__": _reduce_result})


def _reduce_result(result: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    return _make_result, (result._fields, tuple(result))


def _make_result(fields: tuple[str, ...], values: tuple[Any, ...]) -> Any:
    return result_class(fields)(*values)


_new = tuple.__new__  # a named tuple's own ``_make`` takes twice as long


def signature(spec: FunctionSpec) -> inspect.Signature:
    """How a function is called, with dtypes and shapes as annotations; for ``help`` and completion."""
    Parameter = inspect.Parameter
    inputs = [
        Parameter(tensor.name, Parameter.POSITIONAL_OR_KEYWORD, annotation=f"{tensor.dtype} {shape_text(tensor.shape)}")
        for tensor in spec.inputs
    ]
    options = [
        Parameter("fetch", Parameter.KEYWORD_ONLY, default=None, annotation="Iterable[str] | None"),
        Parameter("chunk", Parameter.KEYWORD_ONLY, default=None, annotation="int | None"),
    ]
    return inspect.Signature(
        [*inputs, *options],
        return_annotation=f"({', '.join(str(t) for t in spec.outputs if t.name in spec.default_outputs)})",
    )


class Function:
    """One function of a bundle, called by position or by name; ``spec`` has the dtypes and shapes.

    A seed (``adj_y``, ``fwd_x``) may have a leading axis of ``k`` directions; every result then has it too.
    """

    def __init__(
        self, spec: FunctionSpec, backend: Backend, guard: Guard, features: Mapping[str, tuple[str, ...]] | None = None
    ) -> None:
        """``features``: names of the components of inputs, which the columns of a table must have."""
        self.spec = spec
        self.__name__ = spec.name
        self.__signature__ = signature(spec)
        self._backend = backend
        self._guard = None if guard.idle else guard
        self._binder = Binder(spec, features)
        self._outputs = tuple(tensor.name for tensor in spec.outputs)
        self._default = spec.default_outputs
        self._directions = Directions(spec, self._binder) if spec.seeds else None
        self._runs: dict[Any, tuple[Choice, Any]] = {}
        # An input whose length is the batch, where there is one.
        self._first = next((t.name for t in spec.inputs if t.name not in spec.shared_inputs), spec.inputs[0].name)

    def __call__(
        self, /, *args: Any, fetch: Iterable[str] | None = None, chunk: int | None = None, **named: Any
    ) -> Any:
        """The results, those of ``spec.default_outputs`` or of ``fetch`` in their order, as a named tuple.

        A product gives itself alone; ``fetch=("y", "adj_x")`` gives the value too, from the same forward pass.

        Large batches are computed ``chunk`` rows at a time (None: a size that suits the cache; 0: never).

        Raises:
            InputError: an input does not fit ``spec.inputs``.
            NotExportedError: ``fetch`` names something that the bundle does not hold.
        """
        try:
            choice, make = self._runs[fetch]
        except (KeyError, TypeError):
            choice, make = self._prepare(fetch)
        feeds = self._binder.exact(args, named)
        if feeds is None:
            values = self._binder.values(args, named)
            if self._directions is not None and (many := self._directions.many(values)):
                return self._directions.call(self, many, values, {"fetch": fetch, "chunk": chunk})
            feeds = self._binder.feeds(values)
        if self._guard is not None:
            self._guard.inputs(feeds)
        if chunk is not None:
            result = _new(make, choice.in_chunks(feeds, self._checked(chunk)))
        elif choice.least and len(feeds[self._first]) >= choice.least:
            result = _new(make, choice.in_chunks(feeds))
        else:
            result = _new(make, choice.run(feeds))
        if self._guard is not None:
            self._guard.results(make._fields, result)
        return result

    def run(self, names: tuple[str, ...], feeds: dict[str, Array]) -> Sequence[Array]:
        """The results ``names`` for ``feeds`` that match ``spec`` exactly: a call without its checks."""
        choice = (self._runs.get(names) or self._prepare(names))[0]
        if self._guard is not None:
            self._guard.inputs(feeds)
        if choice.least and len(feeds[self._first]) >= choice.least:
            results = choice.in_chunks(feeds)
        else:
            results = choice.run(feeds)
        if self._guard is not None:
            self._guard.results(names, results)
        return results

    def convert(self, name: str, value: Any) -> Array:
        """``value`` as an array of the dtype of input ``name``, of whatever shape; raises ``InputError``."""
        return self._binder.convert(name, value)

    def rows_at_a_time(self, batch: int) -> int:
        """How many rows of a ``batch`` a call computes together if no ``chunk`` is passed."""
        return (self._runs.get(None) or self._prepare(None))[0].rows(batch)

    def reset(self) -> None:
        """Forget prepared runs; called in the child after a fork."""
        self._runs = {}

    def __repr__(self) -> str:
        return f"<pullback.Function {self.spec}>"

    def fetch_names(self, fetch: Iterable[str] | None) -> tuple[str, ...]:
        """The outputs that ``fetch`` names; raises ``InputError`` and ``NotExportedError``."""
        if fetch is None:
            return self._default
        if not isinstance(fetch, (str, list, tuple, set, frozenset, dict)):
            raise InputError(f"{self.spec.name}: fetch must be names of outputs, got {type(fetch).__name__}")
        names = (fetch,) if isinstance(fetch, str) else tuple(fetch)
        if not names or len(set(map(repr, names))) < len(names):
            raise InputError(
                f"{self.spec.name}: fetch must name each output once, and at least one; got {_shown(names)}"
            )
        for name in names:
            if not isinstance(name, str) or name not in self._outputs:
                held = ", ".join(self._outputs)
                raise NotExportedError(f"{self.spec.name}: there is no output {_shown(name)}; the bundle holds {held}")
        return names

    def _prepare(self, fetch: Iterable[str] | None) -> tuple[Choice, Any]:
        names = self.fetch_names(fetch)
        entry = (self._backend.prepare(self.spec, names), result_class(names))
        if fetch is None or isinstance(fetch, (str, tuple)):
            others = [key for key in tuple(self._runs) if key is not None]  # in one step: other threads add theirs
            if len(others) >= KEPT_RUNS:
                self._runs.pop(others[0], None)
            self._runs[fetch] = entry
        return entry

    def _checked(self, chunk: object) -> int:
        if type(chunk) is not int or chunk < 0:
            raise InputError(f"{self.spec.name}: chunk must be a number of rows, got {_shown(chunk)}")
        if chunk and not self.spec.divisible:
            raise InputError(f"{self.spec.name}: chunk needs a batch axis in every input and output; remove chunk=")
        return chunk


def _shown(value: object) -> str:
    """On one line, whatever it is, and not for ever."""
    return " ".join(repr(value).split())[:200]
