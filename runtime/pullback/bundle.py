"""``load`` and ``Bundle``: open a bundle and evaluate it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pullback import features, golden
from pullback.backends import table
from pullback.backends.onnx import OnnxBackend
from pullback.calls.guards import Guard
from pullback.display import notebook
from pullback.errors import BundleError, InputError, NotExportedError, PullbackError
from pullback.flat import Flat
from pullback.flat.layout import Shapes
from pullback.function import Function
from pullback.manifest import BATCH_NAMES, FUNCTION_NAMES, FunctionSpec, Manifest, Tolerance
from pullback.parity import Report, compare
from pullback.prepared import Prepared
from pullback.storage import opening
from pullback.storage.remote import is_url

RANGE_CHECKS = (None, "warn", "raise")

_live: weakref.WeakSet[Bundle] = weakref.WeakSet()


def load(
    path: str | os.PathLike[str],
    backend: str | None = None,
    *,
    threads: int | None = None,
    providers: Sequence[Any] | None = None,
    optimization: str = "all",
    check_finite: bool = False,
    check_range: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> Bundle:
    """Load a bundle folder, a zip file of one, a single ``.onnx`` file of one, or the SavedModel folder of one.

    Args:
        path: a path, or a URL that fsspec supports (``s3://``, ``hf://``; needs ``pullback[remote]``). Every file in
            the bundle is checked before anything is opened.
        backend: ``"onnx"`` (the default) or ``"saved_model"`` (the default for a SavedModel folder). A
            SavedModel can run arbitrary code, so the runtime opens one only if you ask for it.
        threads: threads per call; None: one for a small network, one per core for a large one; 0: one per core.
            They share the rows of a batch, one chunk each, or the work of each operator if there are fewer rows;
            a large network that is called both ways is in memory twice.
        providers: ONNX Runtime execution providers; None: the CPU.
        optimization: ONNX Runtime's graph optimisation: ``disabled``, ``basic``, ``extended`` or ``all``.
        check_finite: raise ``InputError`` when an input or a result is NaN or infinite.
        check_range: ``"warn"`` or ``"raise"`` when an input lies outside of what parity was measured on.
        cache: a folder for graphs as ONNX Runtime has optimised them for this processor, so that later processes get
            their first result sooner; made where there is none, outside of the bundle. The numbers are the same to the
            last bit. What in it is damaged, or of another bundle, ONNX Runtime or processor, is not used; where it
            cannot be written, graphs are optimised as without it. Only you should be able to write to it.

    Raises:
        BundleError: the bundle is missing, damaged or forged, or Pullback did not write it.
        FormatVersionError: the format version is unknown.
        MissingDependencyError: the backend's package is not installed.
        InputError: an option is invalid.
    """
    if backend is not None and backend not in table.BACKENDS:
        raise InputError(f"backend must be one of {', '.join(table.BACKENDS)}; got {backend!r}")
    if check_range not in RANGE_CHECKS:
        raise InputError(f"check_range must be 'warn', 'raise' or None; got {check_range!r}")
    try:
        text = os.fspath(path)
        place = Path(os.path.abspath(text))
    except TypeError as error:
        raise InputError(f"path must be a string or a Path; got {type(path).__name__}") from error
    options = {"threads": threads, "providers": providers, "optimization": optimization}
    options |= {"check_finite": check_finite, "check_range": check_range, "cache": _absolute(cache)}
    program = backend is not None and table.BACKENDS[backend].program
    opened = opening.open_url(text, program) if is_url(text) else opening.open_path(place, program)
    return Bundle(opened, backend, options)


def _absolute(cache: object) -> str | None:
    """The path of the cache, which a pickled bundle takes along; raises ``InputError`` for what is no path."""
    if cache is None:
        return None
    if not isinstance(cache, (str, os.PathLike)) or not isinstance(text := os.fspath(cache), str) or not text:
        raise InputError(f"cache must be the path of a folder, or None; got {cache!r}")
    return os.path.abspath(text)


class Bundle:
    """A loaded bundle: call it for the outputs and derivatives of ``spec``. Safe to share between threads.

    A pickle holds the path and the digest; unpickling loads the same bundle from the same path.
    """

    def __init__(self, opened: opening.Opened, backend: str | None, options: dict[str, Any]) -> None:
        self._opened = opened
        self._options = options
        self.backend = backend or table.default(opened)
        self._backend = table.BACKENDS[self.backend].open(opened, options)
        self._features = features.of_manifest(opened.manifest)
        self._functions = {spec.name: self._function(spec) for spec in opened.functions}
        self._evaluate = self._functions.get("evaluate") or self._missing("evaluate")
        if "evaluate" in self._functions:
            self.__signature__ = self._functions["evaluate"].__signature__
        _live.add(self)

    def __call__(self, /, *args: Any, **named: Any) -> Any:
        """Outputs and seedless derivatives, a named tuple of arrays; see ``Function.__call__``."""
        return self._evaluate(*args, **named)

    @property
    def vjp(self) -> Callable[..., Any]:
        """The product of an adjoint seed with the Jacobian; ``vjp(x=x, adj_y=v)`` gives ``adj_x``, ``(B, *in)``."""
        return self.function("vjp")

    @property
    def jvp(self) -> Callable[..., Any]:
        """The derivative along a direction; ``jvp(x=x, fwd_x=t)`` gives ``fwd_y`` of shape ``(B, *out)``."""
        return self.function("jvp")

    @property
    def hvp(self) -> Callable[..., Any]:
        """The Hessian times a direction; ``hvp(x=x, fwd_x=t)`` gives ``hvp_y_x`` of shape ``(B, *in)``.

        For a vector output, ``hvp(x=x, adj_y=v, fwd_x=t)`` gives ``fwd_adj_x``: the Hessian of ``<v, y>`` times ``t``.
        """
        return self.function("hvp")

    @property
    def weighted_hessian(self) -> Callable[..., Any]:
        """The sum of ``v[i]`` times the Hessian of ``y[i]``; ``weighted_hessian(x=x, adj_y=v)`` gives ``hess_y_x``."""
        return self.function("weighted_hessian")

    @property
    def functions(self) -> dict[str, Function]:
        """Every function by name."""
        return dict(self._functions)

    def function(self, name: str) -> Function:
        """The function of that name; raises ``NotExportedError`` if there is none."""
        try:
            return self._functions[name]
        except KeyError:
            raise NotExportedError(self._missing_text(name)) from None

    @property
    def spec(self) -> FunctionSpec:
        """Inputs, outputs and derivatives of the call (of the only function in a bare file)."""
        return self._functions.get("evaluate", next(iter(self._functions.values()))).spec

    @property
    def path(self) -> Path:
        """Where it was loaded from; see ``source`` for a URL."""
        return self._opened.path

    @property
    def source(self) -> str:
        """The path or URL that loads it again."""
        return self._opened.source

    @property
    def digest(self) -> str:
        """SHA-256 that changes whenever a byte of the bundle does."""
        return self._opened.digest

    @property
    def manifest(self) -> Manifest | None:
        """The manifest; None for a bare file."""
        return self._opened.manifest

    @property
    def features(self) -> dict[str, tuple[str, ...]]:
        """Names of the components of inputs and outputs, as passed to ``export(features=)``."""
        return dict(self._features)

    @property
    def tolerance(self) -> Tolerance:
        """The tolerance that parity was measured against."""
        return self._opened.tolerance

    def samples(self) -> dict[str, list[golden.Case]]:
        """The golden samples by function; raises ``NotExportedError`` for a bare file."""
        if self._opened.golden is None:
            raise NotExportedError(f"{self.path}: a bare file carries no golden samples; load the bundle folder")
        return golden.read(self._opened.golden(), self._opened.functions, str(self.path / "golden.npz"))

    def graph(self, function: str = "evaluate") -> bytes:
        """The ONNX file of a function, weights and all; raises ``NotExportedError`` if the bundle has no such file."""
        chosen = self.function(function)
        if (found := self._opened.graphs.get(chosen.spec.name)) is None:
            raise NotExportedError(f"{self.path}: it holds no ONNX graphs; export it with formats=('onnx',)")
        if found.weights is not None:
            raise NotExportedError(
                f"{self.path}: {chosen.spec.name}.onnx has its weights beside it ({found.weights.file.path},"
                f" {found.weights.file.size:,} bytes), and one file with both is wanted here; open that graph where it"
                " is, or export with external_data=False, which goes up to 2 GB"
            )
        return found.read()

    def pack(self, path: str | os.PathLike[str]) -> None:
        """Write the bundle as one zip file, which loads like the folder; raises ``BundleError`` if it changed."""
        opening.pack(self._opened, Path(path))

    def verify(self) -> Report:
        """Replay ``golden.npz`` and compare with the live model's answers.

        Raises:
            ParityError: a number is off by more than the tolerance; the report is its ``.report``.
        """
        return self.compare().require(f"{self.path}: {self.backend}")

    def compare(self) -> Report:
        """The report of ``verify``, passed or not; stages are ``<function>/<case>``."""
        report = Report()
        for name, cases in self.samples().items():
            report += self._compare(name, cases)
        return report

    def _compare(self, name: str, cases: list[golden.Case]) -> Report:
        """One function; a derivative that is zero in all of its cases is worth a warning."""
        function: Any = self._functions[name]
        zero = {
            derivative.name
            for derivative in function.spec.derivatives
            if not any(np.any(case.outputs[derivative.name]) for case in cases)
        }
        report = Report()
        for number, case in enumerate(cases):
            actual = function(**case.inputs, fetch=tuple(case.outputs))._asdict()
            report += compare(case.outputs, actual, self.tolerance, stage=f"{name}/{number}", derivatives=zero)
        return report

    def flat(
        self,
        of: str,
        wrt: str | Sequence[str],
        given: Mapping[str, Any] | None = None,
        shape: Shapes | None = None,
    ) -> Flat:
        """An output as a function of one vector, with its derivatives, for optimisers and solvers.

        ``f = bundle.flat(of="y", wrt="x", given={"t": 0.3})`` takes an unbatched ``x`` of shape ``(n,)`` and gives new
        float64 arrays in plain shapes: ``minimize(f.value_and_gradient, x0, jac=True, hess=f.hess, hessp=f.hessp)``.

        Args:
            of: an output, a component ``"y[2]"``, a slice ``"y[1:3]"`` or the sum of one ``"sum(y)"``.
            wrt: the input that ``x`` sets, or several, concatenated in order. Arrays are flattened in C order.
            given: a value for each other input, for one sample, without the batch axis.
            shape: if ``wrt`` has free axes besides the batch: its shape, ``(5, 3)``; shapes by input,
                ``{"x": (5, 3)}``; or sizes by axis, ``{"atoms": 5}``.

        Raises:
            InputError: an input is missing, unknown or of a wrong shape.
            NotExportedError: there is no such output. (A missing derivative raises when it is called.)
        """
        remake = (_flat_again, (self, of, wrt, given, shape))
        return Flat(self._functions, of, wrt, given, shape, remake)

    def prepared(
        self,
        batch: int | None = None,
        /,
        function: str = "evaluate",
        fetch: Iterable[str] | None = None,
        *,
        copy: bool = False,
        **sizes: int,
    ) -> Prepared:
        """A call with fixed sizes and its own buffers, for loops; see ``Prepared``. ONNX only.

        Every call fills and returns the same arrays, so a stored result changes at the next call: an optimiser that
        compares the gradient with the previous one would see no change, stop, and report success. To keep results,
        pass ``copy=True``, which returns new arrays; ``flat`` always does.
        """
        chosen = self.function(function)
        if batch is not None:
            sizes |= dict.fromkeys(BATCH_NAMES, batch)
        names = chosen.fetch_names(fetch)
        return Prepared(chosen.spec, self._onnx().session_of(chosen.spec, names), names, sizes, copy)

    def session(
        self, function: str = "evaluate", *, fetch: Iterable[str] | None = None, profile: str | None = None
    ) -> Any:
        """The ``onnxruntime.InferenceSession`` of a function, or of the part of it that computes ``fetch``.

        With a file prefix ``profile``, a new session that profiles, with as many threads as a call has.
        """
        chosen = self.function(function)
        names = chosen.fetch_names(fetch)
        if profile is not None:
            return self._onnx().profiling_session(chosen.spec, names, profile)
        return self._onnx().session_of(chosen.spec, names)

    def __reduce__(self) -> tuple[Callable[..., Bundle], tuple[Any, ...]]:
        return _reload, (self.source, self.backend, self._options, self.digest)

    def __repr__(self) -> str:
        return f"<pullback.Bundle {self.path.name}: {'; '.join(str(f.spec) for f in self._functions.values())}>"

    def __dir__(self) -> Iterable[str]:
        """What it holds: a function that was not exported is no attribute."""
        missing = {name for name in FUNCTION_NAMES if name not in self._functions}
        return [name for name in super().__dir__() if name not in missing]

    def _repr_html_(self) -> str:
        """Signatures, the verdict of the export, and a curve of a function of one number; for notebooks."""
        functions = [function.spec for function in self._functions.values()]
        try:
            tensor = notebook.scalar_input(self.spec)
            picture = "" if tensor is None else notebook.curve(self.spec, self.span(tensor.name), self)
        except PullbackError:  # a picture is not worth an error
            picture = ""
        return notebook.page(self.path.name, self.backend, functions, self.manifest, picture)

    def span(self, name: str) -> tuple[float, float]:
        """The range ``(low, high)`` of the samples of input ``name``; ``(-1, 1)`` if there are none."""
        found = self.manifest
        if found is not None and name in found.ranges:
            low, high = found.ranges[name]
        else:
            try:
                values = np.concatenate([np.ravel(case.inputs[name]) for case in self.samples()["evaluate"]])
                low, high = float(values.min()), float(values.max())
            except (NotExportedError, ValueError):
                low, high = -1.0, 1.0
        return (low, high) if low < high else (low - 1, high + 1)

    def _onnx(self) -> OnnxBackend:
        if not isinstance(self._backend, OnnxBackend):
            raise NotExportedError(f"{self.path}: there is no ONNX Runtime session; load it with backend='onnx'")
        return self._backend

    def _function(self, spec: FunctionSpec) -> Function:
        found = self._opened.manifest
        ranges = found.ranges if found is not None else {}
        finite, ranged = bool(self._options["check_finite"]), self._options["check_range"]
        return Function(spec, self._backend, Guard(spec.name, finite, ranged, ranges), self._features)

    def _missing(self, name: str) -> Callable[..., Any]:
        def missing(*args: Any, **named: Any) -> Any:
            raise NotExportedError(self._missing_text(name))

        return missing

    def _missing_text(self, name: str) -> str:
        held = ", ".join(self._functions)
        return f"{self.path}: holds no function {name!r}, only {held}; export the model with a derivative of that kind"

    def _reset(self) -> None:
        self._backend.reset()
        for function in self._functions.values():
            function.reset()


def _flat_again(bundle: Bundle, *args: Any) -> Flat:
    """What unpickling a flat view calls."""
    return bundle.flat(*args)


def _reload(path: str, backend: str, options: dict[str, Any], digest: str) -> Bundle:
    """What unpickling calls."""
    bundle = load(path, backend, **options)
    if bundle.digest != digest:
        raise BundleError(f"{path}: the bundle was replaced after it was pickled; pickle it again")
    return bundle


def _after_fork() -> None:
    for bundle in list(_live):
        bundle._reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
