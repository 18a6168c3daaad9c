"""The ONNX files that CasADi opens: ``f.onnx``, ``jac_f.onnx``, ``jac_jac_f.onnx``, ``adj_f.onnx`` and ``fwd_f.onnx``.

All are of one sample. They are made of the graphs of a bundle, and need neither CasADi nor ``onnx``.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pullback.backends.sessions import ONE_THREAD_BYTES
from pullback.bundle import Bundle
from pullback.errors import InputError, NotExportedError
from pullback.integrations.casadi.wrapping import Shape, Wrapping, inner, wrapped
from pullback.integrations.whole_derivatives import inputs_of, is_whole, values_of
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec
from pullback.texts import STRING

# ONNX Runtime reads options of a session from this key of a file where ORT_LOAD_CONFIG_FROM_MODEL is 1
# (onnxruntime/core/session/inference_session_utils.h); CasADi sets none itself.
CONFIG = "ort_config"
_ONE_THREAD = '{"session_options": {"intra_op_num_threads": 1, "inter_op_num_threads": 1}}'


@dataclasses.dataclass(frozen=True)
class File:
    """``content`` is an ONNX file whose inputs are those of the model, and whose outputs are named as CasADi's.

    ``small``: it asks ONNX Runtime for one thread, with which small graphs are faster.
    """

    name: str
    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    small: bool


@dataclasses.dataclass(frozen=True)
class Source:
    """A result that holds a derivative: how its axes are grouped, and the unit seeds that it is a batch of.

    ``groups`` are names of the output and of inputs, slowest first; ``units`` are seeds with what each belongs to.
    """

    function: FunctionSpec
    result: str
    groups: tuple[str, ...]
    units: tuple[tuple[str, str], ...] = ()


class Files:
    """The files of outputs ``of`` by inputs ``wrt``, for the CasADi function ``name``.

    Raises:
        InputError: an axis besides the batch is free. NotExportedError: a first derivative is missing, or ONNX is.
    """

    def __init__(self, bundle: Bundle, of: Sequence[str], wrt: Sequence[str], name: str = "f") -> None:
        self._bundle, self.of, self.wrt, self._name = bundle, tuple(of), tuple(wrt), name
        self._spec = bundle.functions["evaluate"].spec
        tensors = {tensor.name: tensor for tensor in (*inputs_of(bundle), *values_of(bundle))}
        for wanted in (*of, *wrt):
            if wanted not in tensors:
                raise NotExportedError(f"{bundle.path}: there is no complete {wanted!r} among {', '.join(tensors)}")
        self.shapes = {key: _sample_shape(tensor, self._spec.batched) for key, tensor in tensors.items()}
        self._dtypes = {key: tensor.dtype for key, tensor in tensors.items()}
        if texts := [key for key, dtype in self._dtypes.items() if dtype == STRING]:
            raise InputError(
                f"{bundle.path}: {texts[0]!r} holds strings, and files for CasADi hold numbers alone: fix it with"
                " given= of casadi.function, or export the model from the layers behind its lookup"
            )

    def value(self) -> File:
        """``f``: the outputs."""
        around = Wrapping()
        names = self._model_inputs(around, self._spec, 1)
        for output in self.of:
            around.result(output, inner(output), self._dtypes[output], self.shapes[output])
        return self._file(self._name, self._spec, self.of, around, names, self.of)

    def first(self) -> list[File]:
        """``jac_f``: the blocks ``jac_y_x``, in one file for each function and seed of the bundle that gives some."""
        wanted = {(y, x): self._first(y, x) for y in self.of for x in self.wrt}
        missing = [f"{y}, {x}" for (y, x), found in wanted.items() if found is None]
        if missing:
            raise NotExportedError(
                f"{self._bundle.path}: the bundle holds no derivative of"
                f" {missing[0].replace(', ', ' with respect to ')};"
                f" export the model with 'jacobian({missing[0]})' or 'gradient({missing[0]})'"
            )
        found = {f"jac_{y}_{x}": (source, (y,)) for (y, x), source in wanted.items() if source is not None}
        return self._blocks(f"jac_{self._name}", found)

    def second(self) -> list[File] | None:
        """``jac_jac_f``: the blocks ``jac_jac_y_x_z``, rows by ``x`` and then ``y``; None where some are missing."""
        wanted = {(y, x, z): self._second(y, x, z) for y in self.of for x in self.wrt for z in self.wrt}
        found = {f"jac_jac_{y}_{x}_{z}": (source, (x, y)) for (y, x, z), source in wanted.items() if source is not None}
        return self._blocks(f"jac_jac_{self._name}", found) if len(found) == len(wanted) else None

    def products(self, kind: str) -> File | None:
        """``adj_f`` of "vjp", ``fwd_f`` of "jvp": values, and products with any number of seeds; of vectors alone."""
        if kind not in self._bundle.functions or not self._spec.rowwise:
            return None
        spec = self._bundle.functions[kind].spec
        held = {(item.of, item.wrt[0]): item for item in spec.derivatives if item.kind == kind and is_whole(item)}
        pairs = [held.get((y, x)) for y in self.of for x in self.wrt]
        seeded, given = (self.of, self.wrt) if kind == "vjp" else (self.wrt, self.of)
        prefix, count = ("adj", "nadj") if kind == "vjp" else ("fwd", "nfwd")
        known = [item for item in pairs if item is not None]
        names = {tensor.name for tensor in (*spec.inputs, *spec.outputs)}
        needed = {*(f"{prefix}_{item}" for item in (*seeded, *given)), *self.of}
        if len(known) < len(pairs) or any(len(self.shapes[item]) > 1 for item in (*seeded, *given)) or needed - names:
            return None
        if spec.seeds - {f"{prefix}_{item}" for item in seeded}:
            return None
        around = Wrapping()
        rows = ""
        for item in seeded:
            seed = f"{prefix}_{item}"
            rows = around.seeds(seed, inner(seed), self._dtypes[item], self.shapes[item], count)
        inputs = self._model_inputs(around, spec, rows)
        for output in self.of:
            around.result(output, inner(output), self._dtypes[output], self.shapes[output], first=True)
        for item in given:
            result = f"{prefix}_{item}"
            around.products(result, inner(result), self._dtypes[item], self.shapes[item], count)
        results = (*self.of, *(f"{prefix}_{item}" for item in given))
        inputs = (*inputs, *(f"{prefix}_{item}" for item in seeded))
        return self._file(f"{prefix}_{self._name}", spec, results, around, inputs, results)

    def _blocks(self, name: str, wanted: Mapping[str, tuple[Source, tuple[str, ...]]]) -> list[File]:
        shared: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
        for block, (source, _) in wanted.items():
            shared.setdefault((source.function.name, source.units), []).append(block)
        files = []
        for number, ((_, units), blocks) in enumerate(shared.items()):
            spec, around = wanted[blocks[0]][0].function, Wrapping()
            count = math.prod(math.prod(self.shapes[owner]) for _, owner in units)
            inputs = self._model_inputs(around, spec, count)
            self._unit_seeds(around, spec, units, count)
            for block in blocks:
                source, rows = wanted[block]
                taken = [source.groups.index(row) for row in rows[-1:]]  # the output, which occurs once
                if len(rows) > 1:
                    inputs_at = [k for k, group in enumerate(source.groups) if k not in taken]
                    taken = [next(k for k in inputs_at if source.groups[k] == rows[0]), *taken]
                groups = [self.shapes[group] for group in source.groups]
                around.block(block, inner(source.result), self._dtypes[rows[-1]], groups, taken)
            results = tuple(dict.fromkeys(wanted[block][0].result for block in blocks))
            file = name if number == 0 else f"{name}_{number}"
            files.append(self._file(file, spec, results, around, inputs, blocks))
        return files

    def _unit_seeds(self, around: Wrapping, spec: FunctionSpec, units: Sequence[tuple[str, str]], count: int) -> None:
        """Every combination of unit vectors, the first of ``units`` slowest; other seeds are zero."""
        sizes = [math.prod(self.shapes[owner]) for _, owner in units]
        given = {}
        for number, (seed, _) in enumerate(units):
            before, after = math.prod(sizes[:number]), math.prod(sizes[number + 1 :])
            given[seed] = np.tile(np.repeat(np.eye(sizes[number]), after, 0), (before, 1))
        for tensor in spec.inputs:
            if tensor.name in spec.seeds:
                shape = _sample_shape(tensor, spec.batched)
                array = given.get(tensor.name, np.zeros((count, math.prod(shape))))
                around.constant(inner(tensor.name), array.reshape(count, *shape).astype(tensor.dtype))

    def _first(self, y: str, x: str) -> Source | None:
        for item in self._spec.derivatives:
            if item.kind in ("gradient", "jacobian") and _is(item, y, (x,)):
                return Source(self._spec, item.name, (y, x))
        rows: dict[str, Callable[[DerivativeSpec], Source]] = {
            "vjp": lambda item: Source(self._function("vjp"), item.name, (y, x), ((str(item.seed), y),)),
            "jvp": lambda item: Source(self._function("jvp"), item.name, (x, y), ((str(item.seed), x),)),
        }
        return self._product(rows, y, (x,))

    def _second(self, y: str, x: str, z: str) -> Source | None:
        for wrt in ((x, z), (z, x)):
            for item in self._spec.derivatives:
                if item.kind == "hessian" and _is(item, y, wrt):
                    return Source(self._spec, item.name, (y, *wrt))
        rows: dict[str, Callable[[DerivativeSpec], Source]] = {
            "weighted_hessian": lambda item: Source(
                self._function("weighted_hessian"), item.name, (y, *item.wrt), ((str(item.seed), y),)
            )
        }
        found = self._product(rows, y, (x, z)) or self._product(rows, y, (z, x))
        return found or self._by_hvp(y, x, z) or self._by_hvp(y, z, x)

    def _by_hvp(self, y: str, x: str, z: str) -> Source | None:
        """From products of the block ``(x, z)`` with the unit directions of ``z``."""
        if "hvp" not in self._bundle.functions or not self._spec.rowwise:
            return None
        spec = self._function("hvp")
        for item in spec.derivatives:
            if item.kind != "hvp" or not _is(item, y, (x, z) if len(item.wrt) == 2 or x != z else (x,)):
                continue
            forward = f"fwd_{z}"
            if math.prod(self.shapes[y]) == 1 and f"adj_{y}" not in spec.seeds:
                return Source(spec, item.name, (y, z, x), ((forward, z),))
            if f"adj_{y}" in spec.seeds:
                return Source(spec, item.name, (y, z, x), ((f"adj_{y}", y), (forward, z)))
        return None

    def _product(
        self, rows: Mapping[str, Callable[[DerivativeSpec], Source]], y: str, wrt: tuple[str, ...]
    ) -> Source | None:
        """From a function of products at unit seeds, which need rows that are computed apart."""
        for kind, made in rows.items():
            if kind in self._bundle.functions and self._spec.rowwise:
                for item in self._function(kind).derivatives:
                    if item.kind == kind and _is(item, y, wrt):
                        return made(item)
        return None

    def _function(self, name: str) -> FunctionSpec:
        return self._bundle.functions[name].spec

    def _model_inputs(self, around: Wrapping, spec: FunctionSpec, rows: int | str) -> tuple[str, ...]:
        tensors = [tensor for tensor in spec.inputs if tensor.name not in spec.seeds]
        for t in tensors:
            batched = spec.batched and t.is_batched
            around.value(t.name, inner(t.name), t.dtype, self.shapes[t.name], rows, batched)
        return tuple(tensor.name for tensor in tensors)

    def _file(
        self,
        name: str,
        spec: FunctionSpec,
        results: Sequence[str],
        around: Wrapping,
        inputs: Sequence[str],
        outputs: Sequence[str],
    ) -> File:
        names = [tensor.name for tensor in (*spec.inputs, *spec.outputs)]
        graph = self._bundle.graph(spec.name)
        metadata = {CONFIG: _ONE_THREAD} if len(graph) <= ONE_THREAD_BYTES else {}
        content = wrapped(graph, names, results, around, f"{spec.name}.onnx", metadata)
        return File(f"{name}.onnx", content, tuple(inputs), tuple(outputs), bool(metadata))


def _is(item: DerivativeSpec, of: str, wrt: tuple[str, ...]) -> bool:
    return item.of == of and item.wrt == wrt and is_whole(item) and item.scale == 1.0


def _sample_shape(tensor: TensorSpec, batched: bool) -> Shape:
    dims = tensor.sample if batched else tensor.shape
    free = [str(dim) for dim in dims if not isinstance(dim, int)]
    if free:
        raise InputError(f"{tensor}: the size of {free[0]} is free, and CasADi's files have fixed sizes")
    return tuple(dim for dim in dims if isinstance(dim, int))
