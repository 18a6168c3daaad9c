"""What each integration does for one value and gradient, and the same by hand: a pair of calls for each row.

A call takes a new point ``(N,)``; calls on tables and blocks take the same numbers each time, which nothing caches.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback

Array = np.ndarray[Any, Any]
Call = Callable[[Array], Any]
N = 10
ROWS_OF_TABLE, BLOCKS, ATOMS = 200, 8, 32


@dataclasses.dataclass(frozen=True)
class Bundles:
    """``network``: 10-256-256-256-1 with its gradient; ``atoms``: Lennard-Jones atoms with forces; both in float64."""

    network: pullback.Bundle
    atoms: pullback.Bundle
    folder: pathlib.Path


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same numbers by hand and through an integration."""

    hand: Call
    call: Call


def positions() -> Array:
    """A piece of a crystal of argon, a little warm, ``(ATOMS, 3)`` in Angstrom."""
    grid = np.stack(np.meshgrid(range(4), range(4), range(2), indexing="ij"), -1).reshape(ATOMS, 3)
    return grid * 3.8 + np.random.default_rng(0).normal(scale=0.05, size=(ATOMS, 3))


def network(make: Callable[[Bundles], Call]) -> Callable[[Bundles], Pair]:
    """A row of one point."""
    return lambda bundles: Pair(lambda x: bundles.network(x[None], fetch=("y", "dy_dx")), make(bundles))


def scipy(bundles: Bundles) -> Call:
    return bundles.network.flat("y", "x").value_and_gradient


def casadi(bundles: Bundles, backend: str) -> Call:
    """Through CasADi's buffers, as solvers call it."""
    import casadi
    from pullback.integrations.casadi import function

    x = casadi.MX.sym("x", N)
    value = function(bundles.network, of=["y"], wrt=["x"], backend=backend)(x)
    buffer, evaluate = casadi.Function("g", [x], [value, casadi.gradient(value, x)]).buffer()
    point, results = np.zeros(N), (np.zeros(1), np.zeros(N))
    buffer.set_arg(0, memoryview(point))
    for number, result in enumerate(results):
        buffer.set_res(number, memoryview(result))

    def call(at: Array) -> Any:
        point[:] = at
        evaluate()
        return results

    call.keep = buffer  # type: ignore[attr-defined]
    return call


def openmdao(bundles: Bundles) -> Call:
    from pullback.integrations.openmdao import BundleComp

    return _totals(BundleComp(bundles.network))


def openmdao_alone(bundles: Bundles) -> Call:
    """The same with a component that returns constants: OpenMDAO's own part."""
    import openmdao.api as om

    class Constant(om.ExplicitComponent):  # type: ignore[misc]  # OpenMDAO has no types
        def setup(self) -> None:
            self.add_input("x", shape=(N,))
            self.add_output("y", shape=(1,))

        def setup_partials(self) -> None:
            self.declare_partials("y", "x")

        def compute(self, inputs: Any, outputs: Any) -> None:
            outputs["y"] = inputs["x"][0]

        def compute_partials(self, inputs: Any, partials: Any) -> None:
            partials["y", "x"] = 1.0

    return _totals(Constant())


def _totals(component: Any) -> Call:
    """Outputs and total derivatives of a problem that is one ``component``."""
    import openmdao.api as om

    problem = om.Problem(reports=False)
    problem.model.add_subsystem("net", component, promotes=["*"])
    problem.setup()

    def call(x: Array) -> Any:
        problem.set_val("x", x)
        problem.run_model()
        return problem.compute_totals(["y"], ["x"])

    return call


def pyomo(bundles: Bundles) -> Call:
    from pullback.integrations.pyomo import BundleGreyBox

    box = BundleGreyBox(bundles.network, "y", "x")

    def call(x: Array) -> Any:
        box.set_input_values(x)
        return box.evaluate_outputs(), box.evaluate_jacobian_outputs()

    return call


def torch(bundles: Bundles) -> Call:
    import torch
    from pullback.integrations.torch import to_torch

    f = to_torch(bundles.network, "y")

    def call(x: Array) -> Any:
        tensor = torch.from_numpy(x).requires_grad_()
        value = f(tensor).sum()
        value.backward()
        return value, tensor.grad

    return call


def torch_alone(bundles: Bundles) -> Call:
    """An ``autograd.Function`` that returns constants: PyTorch's own part."""
    import torch

    value, gradient = torch.zeros(1, 1, dtype=torch.float64), torch.zeros(1, N, dtype=torch.float64)

    class Constant(torch.autograd.Function):  # type: ignore[misc]  # torch may not be installed where types are checked
        @staticmethod
        def forward(x: Any) -> Any:
            return value.clone()

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * gradient

    def call(x: Array) -> Any:
        tensor = torch.from_numpy(x).requires_grad_()
        found = Constant.apply(tensor[None]).sum()
        found.backward()
        return found, tensor.grad

    return call


def jax(bundles: Bundles) -> Call:
    import jax
    from pullback.integrations.jax import to_jax

    jax.config.update("jax_enable_x64", True)
    f = jax.jit(jax.value_and_grad(lambda x: to_jax(bundles.network, "y")(x).sum()))
    return lambda x: jax.block_until_ready(f(x))


def jax_alone(bundles: Bundles) -> Call:
    """One callback from jitted code that returns constants: JAX's own part."""
    import jax

    jax.config.update("jax_enable_x64", True)
    results = np.zeros(()), np.zeros(N)
    shapes = jax.ShapeDtypeStruct((), np.float64), jax.ShapeDtypeStruct((N,), np.float64)
    f = jax.jit(lambda x: jax.pure_callback(lambda _: results, shapes, x))
    return lambda x: jax.block_until_ready(f(x))


def pytensor(bundles: Bundles) -> Call:
    import pytensor
    import pytensor.tensor as pt
    from pullback.integrations.pytensor import to_pytensor

    x = pt.dvector("x")
    y = to_pytensor(bundles.network, "y")(x).sum()
    found: Call = pytensor.function([x], [y, pytensor.grad(y, x)])
    return found


def umbridge(bundles: Bundles) -> Call:
    """In the process of the server: what HTTP adds is UM-Bridge's."""
    from pullback.integrations.umbridge import UmbridgeModel

    model = UmbridgeModel(bundles.network)

    def call(x: Array) -> Any:
        point = [x.tolist()]
        return model(point), model.gradient(0, 0, point, [1.0])

    return call


def tesseract(bundles: Bundles) -> Call:
    """Through Tesseract's own checks of inputs and outputs, in this process."""
    from tesseract_core import Tesseract

    api = bundles.folder / "tesseract_api.py"
    api.write_text(
        "import pullback\nfrom pullback.integrations.tesseract import BundleTesseract\n"
        f"_t = BundleTesseract(pullback.load({str(bundles.network.path)!r}))\n"
        "class InputSchema(_t.InputSchema): pass\nclass OutputSchema(_t.OutputSchema): pass\n"
        "apply, jacobian, abstract_eval = _t.apply, _t.jacobian, _t.abstract_eval\n"
    )
    component = Tesseract.from_tesseract_api(api)
    component.__enter__()
    return lambda x: (component.apply({"x": x}), component.jacobian({"x": x}, ["x"], ["y"]))


def ase(bundles: Bundles) -> Pair:
    from ase import Atoms
    from pullback.integrations.ase import BundleCalculator

    here = positions()
    atoms = Atoms(f"Ar{ATOMS}", positions=here, calculator=BundleCalculator(bundles.atoms))

    def call(x: Array) -> Any:
        atoms.set_positions(here + x[0])
        return atoms.get_potential_energy(), atoms.get_forces()

    return Pair(lambda x: bundles.atoms(here + x[0], fetch=("energy", "forces")), call)


def _table() -> Array:
    return np.random.default_rng(1).normal(size=(ROWS_OF_TABLE, N))


def _on_one_thread(bundles: Bundles) -> pullback.Bundle:
    """Threads that wait for work are woken after a pause alone: that is not the cost of what pauses."""
    return pullback.load(bundles.network.path, threads=1)


def table(bundles: Bundles, library: str) -> Pair:
    import importlib

    from pullback.integrations.tables import evaluate, input_columns

    array, network = _table(), _on_one_thread(bundles)
    names = input_columns(network)["x"]
    frame = importlib.import_module(library).DataFrame(dict(zip(names, array.T, strict=True)))
    return Pair(
        lambda x: network(array, fetch=("y", "dy_dx")),
        lambda x: evaluate(network, frame, fetch=["y", "dy_dx"]),
    )


def dask(bundles: Bundles) -> Pair:
    import dask
    import dask.array
    from pullback.integrations.dask import map_blocks

    blocks, network = [_table() for _ in range(BLOCKS)], _on_one_thread(bundles)
    whole = dask.array.from_array(np.concatenate(blocks), chunks=(ROWS_OF_TABLE, N))
    return Pair(
        lambda x: [network(block, fetch=("y", "dy_dx")) for block in blocks],
        lambda x: dask.compute(*map_blocks(network, whole, fetch=("y", "dy_dx")), scheduler="synchronous"),
    )


# The name, the module that it needs, what makes the calls.
ROWS: tuple[tuple[str, str, Callable[[Bundles], Pair]], ...] = (
    ("SciPy, `bundle.flat`", "scipy", network(scipy)),
    ("CasADi, its own ONNX Runtime", "casadi", network(lambda bundles: casadi(bundles, "native"))),
    ("CasADi, callback", "casadi", network(lambda bundles: casadi(bundles, "callback"))),
    ("OpenMDAO, model and totals", "openmdao", network(openmdao)),
    ("OpenMDAO alone, constants", "openmdao", network(openmdao_alone)),
    ("Pyomo, grey box", "pyomo", network(pyomo)),
    (f"ASE, energy and forces of {ATOMS} atoms", "ase", ase),
    (f"pandas, {ROWS_OF_TABLE:,} rows", "pandas", lambda bundles: table(bundles, "pandas")),
    (f"polars, {ROWS_OF_TABLE:,} rows", "polars", lambda bundles: table(bundles, "polars")),
    (f"Dask, {BLOCKS} blocks of {ROWS_OF_TABLE:,} rows, one thread", "dask", dask),
    ("PyTorch, forward and backward", "torch", network(torch)),
    ("PyTorch alone, constants", "torch", network(torch_alone)),
    ("JAX, jitted value_and_grad", "jax", network(jax)),
    ("JAX alone, a callback with constants", "jax", network(jax_alone)),
    ("PyTensor", "pytensor", network(pytensor)),
    ("UM-Bridge, evaluate and gradient", "umbridge", network(umbridge)),
    ("Tesseract, apply and jacobian", "tesseract_core", network(tesseract)),
)
