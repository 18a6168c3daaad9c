"""What each integration costs over a call of the bundle by hand: ``python -m tests.benchmarks.overhead``.

Value and gradient at a new point each time, of a network 10-256-256-256-1 in float64, which is exported first
(``--bundle``: of another bundle ``y(x)`` with ``gradient(y, x)``). All take turns in one process; a ratio is that of
the fastest of many calls, which a busy machine disturbs least. Libraries that are not installed have no row. ``--live``
adds SciPy's BFGS on the bundle, on a ``tf.function`` and on Keras under a ``GradientTape``.
"""

from __future__ import annotations

import argparse
import importlib.util
import pathlib
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pullback

Call = Callable[[np.ndarray[Any, Any]], Any]
N = 10
CALLS = 5  # of a turn: those of others leave the caches cold for the first


def by_hand(bundle: pullback.Bundle) -> Call:
    return lambda x: bundle(x[None], fetch=("y", "dy_dx"))


def scipy(bundle: pullback.Bundle) -> Call:
    return bundle.flat("y", "x").value_and_gradient


def casadi(bundle: pullback.Bundle, backend: str) -> Call:
    """Through CasADi's buffers, as solvers call it."""
    import casadi
    from pullback.integrations.casadi import function

    x = casadi.MX.sym("x", N)
    value = function(bundle, of=["y"], wrt=["x"], backend=backend)(x)
    buffer, evaluate = casadi.Function("g", [x], [value, casadi.gradient(value, x)]).buffer()
    point, results = np.zeros(N), (np.zeros(1), np.zeros(N))
    buffer.set_arg(0, memoryview(point))
    for number, result in enumerate(results):
        buffer.set_res(number, memoryview(result))

    def call(at: np.ndarray[Any, Any]) -> Any:
        point[:] = at
        evaluate()
        return results

    call.keep = buffer  # type: ignore[attr-defined]
    return call


def openmdao(bundle: pullback.Bundle) -> Call:
    import openmdao.api as om
    from pullback.integrations.openmdao import BundleComp

    problem = om.Problem(reports=False)
    problem.model.add_subsystem("net", BundleComp(bundle), promotes=["*"])
    problem.setup()

    def call(x: np.ndarray[Any, Any]) -> Any:
        problem.set_val("x", x)
        problem.run_model()
        return problem.compute_totals(["y"], ["x"])

    return call


def pyomo(bundle: pullback.Bundle) -> Call:
    from pullback.integrations.pyomo import BundleGreyBox

    box = BundleGreyBox(bundle, "y", "x")

    def call(x: np.ndarray[Any, Any]) -> Any:
        box.set_input_values(x)
        return box.evaluate_outputs(), box.evaluate_jacobian_outputs()

    return call


def torch(bundle: pullback.Bundle) -> Call:
    import torch
    from pullback.integrations.torch import to_torch

    f = to_torch(bundle, "y")

    def call(x: np.ndarray[Any, Any]) -> Any:
        tensor = torch.from_numpy(x).requires_grad_()
        value = f(tensor).sum()
        value.backward()
        return value, tensor.grad

    return call


def jax(bundle: pullback.Bundle) -> Call:
    import jax
    from pullback.integrations.jax import to_jax

    jax.config.update("jax_enable_x64", True)
    f = jax.jit(jax.value_and_grad(lambda x: to_jax(bundle, "y")(x).sum()))
    return lambda x: jax.block_until_ready(f(x))


def pytensor(bundle: pullback.Bundle) -> Call:
    import pytensor
    import pytensor.tensor as pt
    from pullback.integrations.pytensor import to_pytensor

    x = pt.dvector("x")
    y = to_pytensor(bundle, "y")(x).sum()
    found: Call = pytensor.function([x], [y, pytensor.grad(y, x)])
    return found


# The name, the module that it needs, and what makes the call.
ROWS: tuple[tuple[str, str, Callable[[pullback.Bundle], Call]], ...] = (
    ("SciPy, `bundle.flat`", "numpy", scipy),
    ("CasADi, its own ONNX Runtime", "casadi", lambda bundle: casadi(bundle, "native")),
    ("CasADi, callback", "casadi", lambda bundle: casadi(bundle, "callback")),
    ("OpenMDAO, model and totals", "openmdao", openmdao),
    ("Pyomo, grey box", "pyomo", pyomo),
    ("PyTorch, forward and backward", "torch", torch),
    ("JAX, jitted value_and_grad", "jax", jax),
    ("PyTensor", "pytensor", pytensor),
)


def measure(bundle: pullback.Bundle, rounds: int) -> dict[str, float]:
    """Seconds of the fastest call, by row; that by hand first."""
    calls = {"by hand": by_hand(bundle)}
    calls |= {name: make(bundle) for name, module, make in ROWS if importlib.util.find_spec(module)}
    best = dict.fromkeys(calls, np.inf)
    point = np.linspace(-1, 1, N)
    for number in range(rounds + 3):
        for name, call in calls.items():
            for _ in range(CALLS):
                point = point + 1e-7
                start = time.perf_counter()
                call(point)
                if number >= 3:  # the first ones compile
                    best[name] = min(best[name], time.perf_counter() - start)
    return best


def live(bundle: pullback.Bundle, model: Any, rounds: int) -> dict[str, float]:
    """Seconds of the fastest BFGS with the same start and steps on the bundle, a ``tf.function`` and the tape."""
    import tensorflow as tf
    from scipy import optimize

    def tape(x: Any) -> Any:
        with tf.GradientTape() as recorded:
            recorded.watch(x)
            value = model(x)
        return value, recorded.gradient(value, x)

    def of(function: Any) -> Any:
        def both(x: np.ndarray[Any, Any]) -> Any:
            value, gradient = function(tf.constant(x[None]))
            return float(value.numpy()[0, 0]), gradient.numpy()[0]

        return both

    ways = {"bundle": bundle.flat("y", "x").value_and_gradient, "tf.function": of(tf.function(tape)), "tape": of(tape)}
    best, counts = dict.fromkeys(ways, np.inf), {}
    for _ in range(rounds):
        for name, both in ways.items():
            start = time.perf_counter()
            found = optimize.minimize(both, np.full(N, 0.3), jac=True, method="BFGS", options={"maxiter": 15})
            best[name] = min(best[name], time.perf_counter() - start)
            counts[name] = found.nfev
    if len(set(counts.values())) > 1:
        raise RuntimeError(f"the searches took different steps, their times cannot be compared: {counts}")
    return best


def table(seconds: dict[str, float]) -> str:
    """Ratios to the first row, in Markdown."""
    first = next(iter(seconds.values()))
    lines = ["| | time | ratio |", "| --- | --: | --: |"]
    lines += [f"| {name} | {value * 1e6:,.0f} us | {value / first:.2f} |" for name, value in seconds.items()]
    return "\n".join(lines)


def exported(folder: pathlib.Path) -> tuple[pullback.Bundle, Any]:
    """The network and its bundle."""
    import keras
    from pullback_export import export

    keras.utils.set_random_seed(0)
    x = keras.Input((N,), name="x", dtype="float64")
    hidden = x
    for _ in range(3):
        hidden = keras.layers.Dense(256, activation="tanh", dtype="float64")(hidden)
    model = keras.Model(x, keras.layers.Dense(1, name="y", dtype="float64")(hidden))
    return export(model, folder / "surrogate.pullback", ["gradient(y, x)"], outputs=["y"]), model


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.benchmarks.overhead")
    parser.add_argument("--bundle", type=pathlib.Path, help="of a run before, where there is no TensorFlow")
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the bundle that is exported")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--live", action="store_true", help="BFGS against TensorFlow as well")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if options.bundle:
            bundle, model = pullback.load(options.bundle), None
        else:
            bundle, model = exported(options.keep or pathlib.Path(folder))
        print(table(measure(bundle, options.rounds)))
        if options.live and model is not None:
            print(table(live(bundle, model, max(options.rounds // 30, 3))))


if __name__ == "__main__":
    main()
