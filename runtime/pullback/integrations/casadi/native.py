"""A bundle in CasADi without Python in the loop: its reader opens our files, its ONNX Runtime backend runs them."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pullback.bundle import Bundle
from pullback.errors import MissingDependencyError, NotExportedError
from pullback.integrations.casadi.callback import Node
from pullback.integrations.casadi.files import File, Files

try:
    import casadi
except ImportError as error:
    raise MissingDependencyError('CasADi is not installed: pip install "pullback[casadi]"') from error

LIBRARY = "CASADI_ONNXRUNTIME_LIB"  # where CasADi's plugin looks for ONNX Runtime
OPTIONS = "ORT_LOAD_CONFIG_FROM_MODEL"  # 1: ONNX Runtime takes the options of a session from the file
# Derivatives come from ``custom_jacobian`` alone: never from differences, never from inside of the graphs.
_EXACT = {"enable_fd": False, "enable_forward": False, "enable_reverse": False, "never_inline": True, "jac_penalty": 0}


def is_available() -> bool:
    """Whether this CasADi can run ONNX files; it is told where the installed ONNX Runtime is."""
    if not hasattr(casadi, "GraphBuilder"):
        return False
    if LIBRARY not in os.environ:
        spec = importlib.util.find_spec("onnxruntime")
        folders = list(spec.submodule_search_locations or ()) if spec else []
        names = ("libonnxruntime.so*", "libonnxruntime*.dylib", "onnxruntime.dll")
        found = sorted(
            str(path) for folder in folders for name in names for path in (pathlib.Path(folder) / "capi").glob(name)
        )
        if found:
            os.environ[LIBRARY] = found[0]
    return bool(casadi.has_graphmodel("onnx") and casadi.has_onnxbackend("ort"))


def function(
    bundle: Bundle, name: str, of: Sequence[str], wrt: Sequence[str], given: Mapping[str, Any], told: bool = True
) -> Any:
    """The function with its derivatives, as far as the bundle holds them.

    Where it lacks second ones and ``told``, asking for their numbers says what to export; that function cannot be
    saved, for a callback says so.

    Raises:
        MissingDependencyError: this CasADi runs no ONNX files. InputError, NotExportedError: see ``Files``.
    """
    if not is_available():
        raise MissingDependencyError('this CasADi has no ONNX Runtime backend: pip install "casadi>=3.8"')
    with _options_from_files():
        return _Native(Files(bundle, of, wrt, name), name, given, told).function()


class _Native:
    """Functions ``f``, ``jac_f`` and ``jac_jac_f``, each the custom Jacobian of the one before."""

    def __init__(self, files: Files, name: str, given: Mapping[str, Any], told: bool) -> None:
        self._files, self._name, self._told = files, name, told
        self._given = {key: _matrix(value) for key, value in given.items()}
        self._shapes = {key: casadi.DM.zeros(*_size(shape)).sparsity() for key, shape in files.shapes.items()}

    def function(self) -> Any:
        x = self._symbols([(key, key) for key in self._files.wrt])
        blocks = self._run([self._files.value()], x)
        outputs = [casadi.reshape(blocks[y], self._shapes[y].shape) for y in self._files.of]
        options = {**_EXACT, "custom_jacobian": self._first()}
        return casadi.Function(self._name, list(x.values()), outputs, list(x), list(self._files.of), options)

    def _first(self) -> Any:
        x = self._symbols([(key, key) for key in self._files.wrt])
        blocks = self._run(self._files.first(), x)
        x |= self._unused()
        names = [f"jac_{of}_{wrt}" for of in self._files.of for wrt in self._files.wrt]
        options = dict(_EXACT)
        second = self._second(names)
        if second is not None:
            options["custom_jacobian"] = second
        return casadi.Function(
            f"jac_{self._name}", list(x.values()), [blocks[n] for n in names], list(x), names, options
        )

    def _second(self, blocks: Sequence[str]) -> Any:
        files, name = self._files.second(), f"jac_jac_{self._name}"
        if files is None and not self._told:
            return None
        values = [*((key, key) for key in self._files.wrt), *((f"out_{key}", key) for key in self._files.of)]
        x = self._symbols([(key, key) for key in self._files.wrt])
        pairs = [(of, wrt) for of in self._files.of for wrt in self._files.wrt]
        arguments = x | self._unused()
        for block, (of, wrt) in zip(blocks, pairs, strict=True):
            arguments[f"out_{block}"] = _unused(f"out_{block}", (self._numel(of), self._numel(wrt)))
        found = self._run(files or [], x)
        outputs = {}
        for block, (of, wrt) in zip(blocks, pairs, strict=True):
            for argument, key in values:
                empty = casadi.MX(self._numel(of) * self._numel(wrt), self._numel(key))
                unknown = casadi.MX.ones(*empty.shape) if files is None and argument == key else empty
                outputs[f"jac_{block}_{argument}"] = found.get(f"jac_{block}_{argument}", unknown)
        if files is None:
            inputs, given = ({key: value.sparsity() for key, value in part.items()} for part in (arguments, outputs))
            return Node(name, inputs, given, self._refuse)
        return casadi.Function(
            name, list(arguments.values()), list(outputs.values()), list(arguments), list(outputs), _EXACT
        )

    def _refuse(self, arguments: Any) -> Any:
        pairs = ", ".join(f"'{self._kind(y)}({y}, {x})'" for y in self._files.of for x in self._files.wrt)
        raise NotExportedError(
            f"{self._name}: the bundle holds no second derivatives; export the model with {pairs}, or let"
            ' IPOPT approximate them: {"hessian_approximation": "limited-memory"}'
        )

    def _kind(self, output: str) -> str:
        return "hessian" if self._numel(output) == 1 else "weighted_hessian"

    def _run(self, files: Sequence[File], symbols: Mapping[str, Any]) -> dict[str, Any]:
        """The outputs of files by name, as expressions."""
        values = {**self._given, **symbols}
        found: dict[str, Any] = {}
        for file in files:
            core = opened(file)
            results = core.call([values[key] for key in file.inputs])
            found |= dict(zip(file.outputs, results, strict=True))
        return found

    def _unused(self) -> dict[str, Any]:
        """The outputs of ``f``, which its derivatives are given."""
        return {f"out_{key}": _unused(f"out_{key}", self._shapes[key].shape) for key in self._files.of}

    def _symbols(self, names: Sequence[tuple[str, str]]) -> dict[str, Any]:
        return {name: casadi.MX.sym(name, self._shapes[key]) for name, key in names}

    def _numel(self, key: str) -> int:
        return int(self._shapes[key].numel())


def opened(file: File) -> Any:
    """An ONNX file as CasADi opens it; the function holds the bytes, not the path."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / file.name
        path.write_bytes(file.content)
        builder = casadi.GraphBuilder(str(path))
        function = builder.create(path.stem + "_onnx", list(file.inputs), list(file.outputs))
    if file.small:
        # The session with which others call it; CasADi opens it at the first call, after the options are gone.
        function.release(function.checkout())
    return function


@contextlib.contextmanager
def _options_from_files() -> Iterator[None]:
    """Sessions that are opened inside have the options of their files; those of others stay as they are."""
    before = os.environ.get(OPTIONS)
    os.environ[OPTIONS] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[OPTIONS]
        else:
            os.environ[OPTIONS] = before


def _unused(name: str, shape: tuple[int, int]) -> Any:
    """An argument without an entry: CasADi does not evaluate what it passes for it, the model once more."""
    return casadi.MX.sym(name, casadi.Sparsity(*shape))


def _size(shape: Sequence[int]) -> tuple[int, int]:
    """CasADi's of an array: a column, a matrix, or a column in C order."""
    return (shape[0], shape[1]) if len(shape) == 2 else (int(np.prod(shape)), 1)


def _matrix(value: Any) -> Any:
    array = np.asarray(value, np.float64)
    return casadi.DM(array if array.ndim == 2 else array.reshape(-1, 1))
