"""A model with every derivative in closed form, whose bundle holds what a test wants it to hold; NumPy alone.

``y[i] = (1 + t) (c[i].z + z.Q[i].z / 2 + d[i].z**3)`` with ``z`` the components of ``x (3,)`` and ``a (2, 2)`` in
order; ``y`` has three components. Requests are written as in an export.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pullback.calls.guards import Guard
from pullback.calls.rows import Choice
from pullback.flat.pieces import picked
from pullback.function import Function
from pullback.manifest import DerivativeSpec, FunctionSpec, TensorSpec
from pullback.selection import Selection, arguments

Array = npt.NDArray[Any]

M, SHAPES = 3, {"x": (3,), "a": (2, 2)}
COLUMNS = {"x": np.arange(3), "a": np.arange(3, 7)}
_RNG = np.random.default_rng(5)
C, D, Q = _RNG.normal(size=(M, 7)), _RNG.normal(size=(M, 7)), _RNG.normal(size=(M, 7, 7))
Q += Q.swapaxes(1, 2)


def value(z: Array, t: float) -> Array:
    return np.asarray((1 + t) * (C @ z + np.einsum("ijk,j,k->i", Q, z, z) / 2 + D @ z**3))


def jacobian(z: Array, t: float) -> Array:
    return np.asarray((1 + t) * (C + Q @ z + 3 * D * z**2))


def hessians(z: Array, t: float) -> Array:
    return np.asarray((1 + t) * (Q + 6 * np.einsum("ij,jk->ijk", D * z, np.eye(7))))


class Polynomial:
    """The functions of a bundle with these ``requests``; ``runs`` lists what was run: function, results and batch.

    A request may be followed by ``* 2``, the factor that its result has. With ``values`` products give
    values too, and those of second order the first derivatives that they come with.
    """

    def __init__(
        self, requests: Sequence[str], batched: bool = True, dtype: str = "float64", values: bool = False
    ) -> None:
        self.batched, self.dtype = batched, dtype
        self.runs: list[tuple[str, tuple[str, ...], int]] = []
        grouped: dict[str, list[str]] = {"evaluate": []}
        for request in requests:
            kind = request.split("(")[0]
            home = {"vjp": "vjp", "jvp": "jvp", "hvp": "hvp", "weighted_hessian": kind}.get(kind, "evaluate")
            grouped.setdefault(home, []).append(request)
        self.functions = {
            name: Function(self._spec(name, texts, values), self, Guard(name, False, None, {}))
            for name, texts in grouped.items()
        }

    def prepare(self, function: FunctionSpec, outputs: tuple[str, ...]) -> Choice:
        def run(feeds: dict[str, Array]) -> list[Array]:
            for tensor in function.inputs:
                fed = feeds[tensor.name]
                shape = [len(fed) if dim == "B" else dim for dim in tensor.shape]
                assert (fed.dtype, fed.shape) == (np.dtype(tensor.dtype), tuple(shape)), tensor
                assert fed.flags.c_contiguous
            batch = len(feeds["x"]) if self.batched else 1
            self.runs.append((function.name, outputs, batch))
            rows = [
                self._row(function, {n: f[i] if self.batched else f for n, f in feeds.items()}) for i in range(batch)
            ]
            found = [np.stack([row[name] for row in rows]).astype(self.dtype) for name in outputs]
            return found if self.batched else [array[0] for array in found]

        return Choice(run)

    def reset(self) -> None: ...

    def _spec(self, function: str, requests: Sequence[str], values: bool) -> FunctionSpec:
        derivatives = tuple(self._derivative(request) for request in requests)
        if values and function in ("hvp", "weighted_hessian"):
            besides = dict.fromkeys(_byproduct(derivative) for derivative in derivatives)
            derivatives += tuple(self._derivative(request) for request in besides)
        inputs = {"x": SHAPES["x"], "a": SHAPES["a"], "t": ()}
        outputs: dict[str, tuple[int, ...]] = {"y": (M,)} if function == "evaluate" or values else {}
        for derivative in derivatives:
            of, *wrt = of_request(derivative.request)
            rows = () if _rows(of).ndim == 1 else (len(_rows(of)),)
            shapes = [SHAPES[item.name] if not item.index else (len(_columns(item)),) for item in wrt]
            shapes *= 2 if derivative.kind in ("hessian", "weighted_hessian") and len(wrt) == 1 else 1
            if derivative.kind in ("vjp", "weighted_hessian") or derivative.name.startswith("fwd_adj"):
                inputs[f"adj_{of.label}"] = rows
            if derivative.kind in ("jvp", "hvp"):
                inputs[f"fwd_{wrt[-1].name}"] = SHAPES[wrt[-1].name]
            first = {"vjp": shapes[0], "jvp": rows, "hvp": shapes[0], "weighted_hessian": sum(shapes, ())}
            outputs[derivative.name] = first.get(derivative.kind, (*rows, *sum(shapes, ())))
        lead = ("B",) if self.batched else ()
        tensors = [
            tuple(TensorSpec(name, self.dtype, (*lead, *shape)) for name, shape in side.items())
            for side in (inputs, outputs)
        ]
        return FunctionSpec(function, tensors[0], tensors[1], derivatives, self.batched)

    def _derivative(self, text: str) -> DerivativeSpec:
        request, _, factor = text.partition(" * ")
        kind = request.split("(")[0]
        of, *wrt = of_request(request)
        label, names = of.label, [item.name for item in wrt]
        vector = kind == "hvp" and _rows(of).ndim == 2
        name = {
            "vjp": f"adj_{wrt[0].label}",
            "jvp": f"fwd_{label}",
            "hvp": "_".join(("fwd_adj" if vector else f"hvp_{label}", *(item.label for item in wrt))),
            "weighted_hessian": f"hess_{label}_{'_'.join(names)}",
        }.get(kind, f"{kind}_{label}_{'_'.join(item.label for item in wrt)}")
        seed = {"vjp": f"adj_{label}", "weighted_hessian": f"adj_{label}"}.get(kind)
        seed = f"fwd_{names[-1]}" if kind in ("jvp", "hvp") else seed
        orders = 2 if kind in ("hessian", "hvp", "weighted_hessian") and len(names) == 1 else 1
        return DerivativeSpec(request, kind, name, of.name, tuple(names * orders), seed, float(factor or 1))

    def _row(self, function: FunctionSpec, feeds: dict[str, Array]) -> dict[str, Array]:
        z, t = np.concatenate([feeds["x"].ravel(), feeds["a"].ravel()]).astype(np.float64), float(feeds["t"])
        results: dict[str, Array] = {"y": value(z, t)}
        for derivative in function.derivatives:
            found = derivative.scale * self._result(derivative, feeds, z, t)
            name = derivative.name
            summed = derivative.kind in ("vjp", "jvp") and name in results
            results[name] = results[name] + found if summed else found
        shapes = {tensor.name: tensor.shape[int(self.batched) :] for tensor in function.outputs}
        return {name: np.reshape(array, shapes[name]) for name, array in results.items() if name in shapes}

    def _result(self, derivative: DerivativeSpec, feeds: dict[str, Array], z: Array, t: float) -> Array:
        of, *wrt = of_request(derivative.request)
        rows, first = _rows(of), _columns(wrt[0])
        if derivative.kind in ("gradient", "jacobian", "vjp", "jvp") or (
            derivative.kind == "derivative" and len(wrt) == 1
        ):
            block = (rows @ jacobian(z, t))[..., first]
            if derivative.kind == "vjp":
                return np.asarray(feeds[f"adj_{of.label}"].ravel() @ np.atleast_2d(block))
            return np.asarray(block @ feeds[str(derivative.seed)].ravel()) if derivative.kind == "jvp" else block
        block = np.tensordot(rows, hessians(z, t), 1)[..., first, :][..., _columns(wrt[-1])]
        if f"adj_{of.label}" in feeds and derivative.name.startswith(("fwd_adj", "hess_")):
            block = np.tensordot(feeds[f"adj_{of.label}"].ravel(), block, 1)
        return np.asarray(block @ feeds[f"fwd_{wrt[-1].name}"].ravel()) if derivative.kind == "hvp" else block


def _byproduct(product: DerivativeSpec) -> str:
    """The request of the first derivative that a product of second order comes with."""
    of, *wrt = of_request(product.request)
    scalar = product.kind == "hvp" and _rows(of).ndim == 1
    return f"{'gradient' if scalar else 'vjp'}({of}, {wrt[0]})"


def _rows(of: Selection) -> Array:
    """What a selection makes of ``y``: a matrix, or a row where it is one number."""
    chosen = np.eye(M)[picked(of, (M,), False)]
    single = len(of.index) == 1 and isinstance(of.index[0], int)
    return np.asarray(chosen.sum(0) if of.summed else chosen[0] if single else chosen)


def _columns(wrt: Selection) -> Array:
    return COLUMNS[wrt.name][picked(wrt, SHAPES[wrt.name], False)]


def of_request(text: str) -> list[Selection]:
    return [Selection.parse(part) for part in arguments(text[text.index("(") + 1 : text.rindex(")")])]
