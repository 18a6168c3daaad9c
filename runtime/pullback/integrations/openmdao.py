"""A bundle as a component of OpenMDAO. Needs ``pip install "pullback[openmdao]"``.

Partials come from the bundle's gradients and Jacobians; a bundle that holds vjps and jvps instead is matrix-free.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError, NotExportedError
from pullback.integrations.whole_derivatives import (
    fixed_shape,
    inputs_of,
    jacobian_results,
    product_pairs,
    values_of,
)
from pullback.texts import STRING, numpy_dtype

try:
    import openmdao.api as om
except ImportError as error:
    raise MissingDependencyError('OpenMDAO is not installed: pip install "pullback[openmdao]"') from error

# Central differences that suit the rounding of the model, for ``check_partials``: OpenMDAO's own step of 1e-6 asks a
# float32 model for digits that it does not have.
STEPS = {"float32": 3e-3, "float64": 1e-6}


class BundleComp(om.ExplicitComponent):  # type: ignore[misc]  # OpenMDAO has no types
    """All inputs and outputs of ``bundle`` under their names, in float64.

    Args:
        bundle: a loaded bundle. With a batch axis its rows are ``vec_size`` points: variables have the shape of a
            sample (``(1,)`` for a number), and ``(vec_size, ...)`` for more than one; an input that all rows share has
            its own shape.
        vec_size: points that are computed together; their partials are block diagonal, and declared so.

    Raises:
        NotExportedError: the bundle holds neither all Jacobians nor all vjps and jvps; the message says what to export.
        InputError: an axis other than the batch is free, or ``vec_size`` does not fit.
    """

    def __new__(cls, bundle: Bundle, *arguments: Any, **options: Any) -> BundleComp:
        # OpenMDAO looks at the class for the methods that a component has: one class for each way to differentiate.
        chosen = _MatrixFree if _is_matrix_free(bundle) else _WithPartials
        made: BundleComp = super().__new__(chosen if cls is BundleComp else cls)
        return made

    def __init__(self, bundle: Bundle, vec_size: int = 1, **options: Any) -> None:
        bundle.spec.refuse_points("OpenMDAO")
        if vec_size < 1 or (vec_size > 1 and not _batched(bundle)):
            raise InputError(
                f"vec_size={vec_size}: give {'1, it is a whole tensor' if vec_size > 0 else 'a positive number'}"
            )
        self._bundle, self._rows = bundle, vec_size
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._shared_inputs = bundle.spec.shared_inputs
        self._results = jacobian_results(bundle)
        super().__init__(**options)

    def setup(self) -> None:
        """Declares variables, and the sparsity of the partials."""
        for tensor in inputs_of(self._bundle):
            shape = self._shape(tensor)
            if tensor.dtype.startswith("float"):
                self.add_input(tensor.name, shape=shape)
            else:
                none = "" if tensor.dtype == STRING else 0
                self.add_discrete_input(tensor.name, val=np.full(shape, none, numpy_dtype(tensor.dtype)))
        for tensor in values_of(self._bundle):
            self.add_output(tensor.name, shape=self._shape(tensor))
        step = min(STEPS[tensor.dtype] for tensor in _floats(self._bundle)[:1]) if _floats(self._bundle) else 1e-6
        self.set_check_partial_options("*", method="fd", form="central", step=step, step_calc="abs")

    def compute(self, inputs: Any, outputs: Any, discrete_inputs: Any = None, discrete_outputs: Any = None) -> None:
        """Values of all outputs."""
        names = [tensor.name for tensor in values_of(self._bundle)]
        found = self._values(self._feeds(inputs, discrete_inputs), names)
        for name, array in zip(names, found, strict=True):
            outputs[name] = array.reshape(self._shapes[name])

    def _values(self, feeds: dict[str, Array], names: list[str]) -> list[Array]:
        return self._evaluate(feeds, names)

    def _evaluate(self, feeds: dict[str, Any], names: list[str]) -> list[Array]:
        return [np.asarray(array, np.float64) for array in self._bundle.functions["evaluate"](fetch=names, **feeds)]

    def _feeds(self, inputs: Any, discrete: Any) -> dict[str, Array]:
        feeds = {}
        for tensor in inputs_of(self._bundle):
            given = discrete[tensor.name] if discrete is not None and tensor.name in discrete else inputs[tensor.name]
            feeds[tensor.name] = self._point(tensor, given)
        return feeds

    def _point(self, tensor: Any, given: Any) -> Array:
        shape = fixed_shape(tensor, _batched(self._bundle), "OpenMDAO")
        rows = (self._rows,) if tensor.is_batched else ()
        return np.ascontiguousarray(np.reshape(_held(tensor, given), (*rows, *shape)))

    def _shape(self, tensor: Any) -> tuple[int, ...]:
        sample = fixed_shape(tensor, _batched(self._bundle), "OpenMDAO")
        shape = (self._rows, *sample) if self._rows > 1 and tensor.is_batched else sample or (1,)
        self._shapes[tensor.name] = shape
        return shape

    def _size(self, name: str) -> int:
        return int(np.prod(self._shapes[name])) // (1 if name in self._shared_inputs else self._rows)


class _WithPartials(BundleComp):
    """Of a bundle that holds every gradient and Jacobian.

    Values and partials at one point are one evaluation, as long as the partials are asked for after the values.
    """

    # The inputs of the last values, and the partials that came with them. A new point before they were asked for
    # means a search that takes values alone; the next partials that are asked for begin it again.
    _kept: tuple[bytes, list[Array]] | None = None
    _expects_partials = True

    def setup_partials(self) -> None:
        """Block diagonal over the points."""
        for of, wrt in self._results:
            if of in self._shapes and wrt in self._shapes:
                rows, cols = self._sparsity(of, wrt)
                self.declare_partials(of, wrt, rows=rows, cols=cols)

    def _sparsity(self, of: str, wrt: str) -> tuple[Array, Array]:
        m, n = self._size(of), self._size(wrt)
        point, row, column = np.indices((self._rows, m, n)).reshape(3, -1)
        return point * m + row, column if wrt in self._shared_inputs else point * n + column

    def compute_partials(self, inputs: Any, partials: Any, discrete_inputs: Any = None) -> None:
        """All partials, of the evaluation that gave the values where this is the same point."""
        feeds, self._expects_partials = self._feeds(inputs, discrete_inputs), True
        kept, self._kept = self._kept, None
        if kept is None or kept[0] != _key(feeds):
            kept = _key(feeds), self._evaluate(feeds, list(self._results.values()))
        self._kept = kept
        for pair, array in zip(self._results, kept[1], strict=True):
            partials[pair] = array.flatten()  # a copy: OpenMDAO scales its own in place

    def _values(self, feeds: dict[str, Array], names: list[str]) -> list[Array]:
        key = _key(feeds)
        if not self._expects_partials:
            return self._evaluate(feeds, names)
        found = self._evaluate(feeds, [*names, *self._results.values()])
        self._kept, self._expects_partials = (key, found[len(names) :]), False
        return found[: len(names)]


class _MatrixFree(BundleComp):
    """Of a bundle that holds every vjp and jvp."""

    def compute_jacvec_product(
        self, inputs: Any, d_inputs: Any, d_outputs: Any, mode: str, discrete_inputs: Any = None
    ) -> None:
        """Adds the products with the seeds, forward or reverse."""
        kind, seeds, results = ("jvp", d_inputs, d_outputs) if mode == "fwd" else ("vjp", d_outputs, d_inputs)
        prefix = "fwd_" if kind == "jvp" else "adj_"
        function = self._bundle.functions[kind]
        feeds: dict[str, Any] = self._feeds(inputs, discrete_inputs)
        for tensor in function.spec.inputs:
            name = tensor.name.removeprefix(prefix)
            if tensor.name not in feeds:
                given = seeds[name] if name in seeds else np.zeros(self._shapes[name])
                feeds[tensor.name] = self._point(tensor, given)
        found = function(**feeds)
        for result, array in zip(found._fields, found, strict=True):
            name = result.removeprefix(prefix)
            if name in results:
                results[name] += np.asarray(array, np.float64).reshape(self._shapes[name])


def _held(tensor: Any, given: Any) -> Array:
    """``given`` in the dtype of the model; raises ``InputError`` where that would make an infinity of it."""
    try:
        with np.errstate(over="raise"):
            return np.asarray(given, numpy_dtype(tensor.dtype))
    except FloatingPointError as error:
        raise InputError(
            f"{tensor.name!r} is {np.abs(given).max():g}, which {tensor.dtype} cannot hold; set lower= and upper= of"
            ' the design variable, or export the model with precision="float64"'
        ) from error


def _key(feeds: dict[str, Array]) -> bytes:
    return b"".join(
        repr(array.tolist()).encode() if array.dtype == object else array.tobytes() for array in feeds.values()
    )


def _is_matrix_free(bundle: Bundle) -> bool:
    pairs = [(y.name, x.name) for y in values_of(bundle) for x in _floats(bundle)]
    missing = [pair for pair in pairs if pair not in jacobian_results(bundle)]
    if not missing:
        return False
    if set(pairs) <= product_pairs(bundle, "vjp") & product_pairs(bundle, "jvp"):
        return True
    requests = ", ".join(f"jacobian({of}, {wrt})" for of, wrt in missing)
    raise NotExportedError(f"OpenMDAO needs every partial; export the bundle with {requests} as well")


def _batched(bundle: Bundle) -> bool:
    return bool(bundle.functions["evaluate"].spec.batched)


def _floats(bundle: Bundle) -> list[Any]:
    return [tensor for tensor in inputs_of(bundle) if tensor.dtype.startswith("float")]
