"""A bundle as a function of CasADi by callbacks into Python: of any output, component or free axis that ``flat`` takes.

CasADi's vectors are column-major and its derivatives are blocks: ``jac_<out>_<in>`` of ``(numel(out), numel(in))``.
The order of every block is made here, once, from the C order of the bundle.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError
from pullback.flat.layout import Shapes
from pullback.flat.view import Flat
from pullback.integrations.casadi.matrices import Matrix, input_matrix, output_matrix

try:
    import casadi
except ImportError as error:
    raise MissingDependencyError('CasADi is not installed: pip install "pullback[casadi]"') from error

# CasADi holds no reference to a Python callback, and calls one that is gone with an error: a solver often outlives the
# names of the functions in it. They stay until the process ends.
_ALIVE: list[Any] = []


def function(
    bundle: Bundle,
    name: str,
    of: Sequence[str],
    wrt: Sequence[str],
    given: Mapping[str, Any],
    shape: Shapes | None,
) -> Any:
    """The function by callbacks into Python; see :func:`pullback.integrations.casadi.function`."""
    flats = [bundle.flat(of=text, wrt=tuple(wrt), given=given, shape=shape) for text in of]
    return _Model(bundle, flats, of, shape).function(name)


class Node(casadi.Callback):
    """A callback from parts: sparsities by name, what computes it, and what makes its derivatives."""

    def __init__(
        self,
        name: str,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        compute: Callable[[list[Array]], list[Any]],
        jacobian: Callable[..., Any] | None = None,
        reverse: Callable[..., Any] | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._in, self._out, self._compute = list(inputs.items()), list(outputs.items()), compute
        self._jacobian, self._reverse = jacobian, reverse
        self.construct(name, dict(options or {}))
        _ALIVE.append(self)

    def get_n_in(self) -> int:
        return len(self._in)

    def get_n_out(self) -> int:
        return len(self._out)

    def get_name_in(self, index: int) -> str:
        return self._in[index][0]

    def get_name_out(self, index: int) -> str:
        return self._out[index][0]

    def get_sparsity_in(self, index: int) -> Any:
        return self._in[index][1]

    def get_sparsity_out(self, index: int) -> Any:
        return self._out[index][1]

    def has_eval_buffer(self) -> bool:
        return True

    def eval_buffer(self, arguments: Any, results: Any) -> int:
        """CasADi's own memory: entries column by column. Matrices of its own would take longer than a small model."""
        arrays = [_matrix(buffer, pattern) for (_, pattern), buffer in zip(self._in, arguments)]
        for (_, pattern), buffer, array in zip(self._out, results, self._compute(arrays)):
            if array is not None and buffer is not None and len(buffer):
                _matrix(buffer, pattern)[:] = array
        return 0

    def has_jacobian(self) -> bool:
        return self._jacobian is not None

    def get_jacobian(self, name: str, inames: Any, onames: Any, options: Any) -> Any:
        assert self._jacobian is not None
        return self._jacobian(name, list(inames), list(onames), options)

    def has_reverse(self, nadj: int) -> bool:
        return self._reverse is not None

    def get_reverse(self, nadj: int, name: str, inames: Any, onames: Any, options: Any) -> Any:
        assert self._reverse is not None
        return self._reverse(nadj, name, list(inames), list(onames), options)


class _Model:
    """The functions ``f``, ``jac_f``, ``jac_jac_f``, ``adj_f`` and ``jac_adj_f`` of one bundle."""

    def __init__(self, bundle: Bundle, flats: Sequence[Flat], of: Sequence[str], shape: Shapes | None) -> None:
        self._flats = list(flats)
        self._x = [input_matrix(bundle, name, at) for name, at in flats[0].slices.items()]
        self._y = [output_matrix(bundle, text, flat) for text, flat in zip(of, flats, strict=True)]

    def function(self, name: str) -> Any:
        """The values."""
        return Node(name, _dense(self._x), _dense(self._y), self._values, self._jac, self._adj)

    def _values(self, arguments: list[Array]) -> list[Any]:
        x = _point(arguments[: len(self._x)])
        return [np.reshape(flat.value(x), (y.rows, y.columns)) for y, flat in zip(self._y, self._flats, strict=True)]

    def _jac(self, name: str, inames: list[str], onames: list[str], options: Any) -> Any:
        """``jac_y_x``, a pair at a time; its inputs are those of ``f`` and then its outputs, which are not used."""
        blocks = [(y.size, x.size) for y in self._y for x in self._x]
        inputs = dict(zip(inames, self._arguments(), strict=True))
        outputs = dict(zip(onames, (casadi.Sparsity.dense(*block) for block in blocks), strict=True))
        return Node(name, inputs, outputs, self._jacobians, self._jac_jac, options=options)

    def _jacobians(self, arguments: list[Array]) -> list[Any]:
        point = _point(arguments[: len(self._x)])
        found = [flat.jacobian(point) for flat in self._flats]
        return [array[np.ix_(y.order, x.places)] for y, array in zip(self._y, found, strict=True) for x in self._x]

    def _jac_jac(self, name: str, inames: list[str], onames: list[str], options: Any) -> Any:
        pairs = [(y.size, x.size) for y in self._y for x in self._x]
        matrices = [*self._arguments(), *(casadi.Sparsity(*pair) for pair in pairs)]
        blocks = [
            casadi.Sparsity.dense(rows * columns, by.numel()) if k < len(self._x) else _empty(rows * columns, by)
            for rows, columns in pairs
            for k, by in enumerate(self._arguments())
        ]
        inputs = dict(zip(inames, matrices, strict=True))
        self._require_second_order()
        return Node(name, inputs, dict(zip(onames, blocks, strict=True)), self._hessians, options=options)

    def _hessians(self, arguments: list[Array]) -> list[Any]:
        """Rows of a block are the entries of ``jac_y_x``, column-major: all ``y`` for the first ``x``, and so on."""
        point = _point(arguments[: len(self._x)])
        blocks: list[Any] = []
        for y, flat in zip(self._y, self._flats, strict=True):
            dense = np.stack([flat.hess(point, unit) for unit in np.eye(y.size)[y.order]], 1)  # (n, m, n)
            for x in self._x:
                blocks += [dense[x.places][:, :, by.places].reshape(-1, by.size) for by in self._x]
                blocks += [None] * len(self._y)
        return blocks

    def _adj(self, nadj: int, name: str, inames: list[str], onames: list[str], options: Any) -> Any:
        """``adj_x``, ``r x (nadj * c)``, of seeds ``adj_y`` of that form."""
        inputs = dict(zip(inames, [*self._arguments(), *_dense(self._y, nadj).values()], strict=True))
        outputs = dict(zip(onames, _dense(self._x, nadj).values(), strict=True))

        def compute(arguments: list[Array]) -> list[Any]:
            point, seeds = self._seeded(arguments, nadj)
            sums = [sum((f.vjp(point, v) for f, v in pairs if v.any()), np.zeros(len(point))) for pairs in seeds]
            return [np.hstack([s[x.at].reshape(x.rows, x.columns) for s in sums]) for x in self._x]

        def jacobian(name: str, inames: list[str], onames: list[str], options: Any) -> Any:
            return self._jac_adj(nadj, name, inames, onames, options)

        return Node(name, inputs, outputs, compute, jacobian, options=options)

    def _jac_adj(self, nadj: int, name: str, inames: list[str], onames: list[str], options: Any) -> Any:
        """The derivative of ``adj_x`` by ``x``, a weighted Hessian, and by ``adj_y``, the transposed Jacobian."""
        first = [*self._arguments(), *_dense(self._y, nadj).values()]
        unused = [casadi.Sparsity(x.rows, nadj * x.columns) for x in self._x]
        inputs = dict(zip(inames, [*first, *unused], strict=True))
        outputs = range(len(self._x), len(self._x) + len(self._y))
        blocks = [
            _empty(nadj * x.size, by) if k in outputs else casadi.Sparsity.dense(nadj * x.size, by.numel())
            for x in self._x
            for k, by in enumerate(first)
        ]
        self._require_second_order()

        def compute(arguments: list[Array]) -> list[Any]:
            point, seeds = self._seeded(arguments, nadj)
            zero = np.zeros((len(point), len(point)))
            hessians = [sum((f.hess(point, v) for f, v in pairs if v.any()), zero) for pairs in seeds]
            jacobians = [flat.jacobian(point) for flat in self._flats]
            results: list[Any] = []
            for x in self._x:
                results += [np.vstack([h[np.ix_(x.places, by.places)] for h in hessians]) for by in self._x]
                results += [None] * len(self._y)
                transposed = [j[np.ix_(y.order, x.places)].T for y, j in zip(self._y, jacobians, strict=True)]
                results += [np.kron(np.eye(nadj), block) for block in transposed]
            return results

        return Node(name, inputs, dict(zip(onames, blocks, strict=True)), compute, options=options)

    def _arguments(self) -> list[Any]:
        """What every derivative takes first: the inputs, and the outputs, which none of them uses.

        They have no entry: CasADi does not evaluate what it passes for such an argument, the model once more.
        """
        return [*_dense(self._x).values(), *(casadi.Sparsity(y.rows, y.columns) for y in self._y)]

    def _seeded(self, arguments: list[Array], nadj: int) -> tuple[Array, list[list[tuple[Flat, Array]]]]:
        """The point, and for each direction each output with its seed, ``(m,)`` in C order."""
        n, m = len(self._x), len(self._y)
        seeds = arguments[n + m : n + 2 * m]
        split = [np.split(seed, nadj, axis=1) for seed in seeds]
        return _point(arguments[:n]), [
            [(flat, part[d].ravel()) for flat, part in zip(self._flats, split, strict=True)] for d in range(nadj)
        ]

    def _require_second_order(self) -> None:
        """Say now what to export: CasADi asks while it builds a solver, and computes later."""
        point = np.zeros(self._flats[0].n)
        for y, flat in zip(self._y, self._flats, strict=True):
            flat.hess(point, np.ones(y.size))


def _dense(matrices: Sequence[Matrix], count: int = 1) -> dict[str, Any]:
    return {m.name: casadi.Sparsity.dense(m.rows, count * m.columns) for m in matrices}


def _matrix(buffer: Any, pattern: Any) -> Array:
    """A dense matrix in CasADi's memory; zeros for one that is not passed, or has no entry."""
    shape = pattern.shape
    if buffer is None or not len(buffer):
        return np.zeros(shape)
    return np.frombuffer(buffer, np.float64).reshape(shape, order="F")


def _empty(rows: int, by: Any) -> Any:
    return casadi.Sparsity(rows, by.numel())


def _point(arguments: Sequence[Array]) -> Array:
    """The flat x, each input in C order."""
    return np.concatenate([argument.ravel() for argument in arguments])
