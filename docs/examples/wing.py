"""
The shape of a wing
===================

A wing of 10 m span has to carry the same lift on the same area with less drag, and to bend its root less. A small
network has learnt from a lifting-line solver what a shape does; SciPy moves the shape, with first and second derivatives
from the bundle.
"""

import keras
import numpy as np
from matplotlib import pyplot
from pullback_export import export
from scipy.optimize import LinearConstraint, NonlinearConstraint, minimize

# %%
# The solver
# ----------
# Prandtl's lifting line with 15 odd Fourier terms. A shape is the chord (m) at the root, at a third and two thirds of the
# half span and at the tip, linear between, and the angle of attack (degrees). The result is lift, induced drag and root
# bending moment, each over the dynamic pressure.

SPAN, TERMS = 10.0, 15
THETA = np.pi / 2 * np.arange(1, TERMS + 1) / TERMS
ORDER = 2 * np.arange(TERMS) + 1
STATIONS = np.linspace(0, 1, 4)


def circulation(shape):
    """Fourier coefficients ``(B, 15)`` of the circulation of shapes ``(B, 5)``."""
    along = np.cos(THETA)
    weights = np.stack([np.interp(along, STATIONS, unit) for unit in np.eye(4)], 1)
    chord, angle = shape[:, :4] @ weights.T, np.radians(shape[:, 4:])
    mu = 2 * np.pi * chord / (4 * SPAN)
    left = np.sin(np.outer(THETA, ORDER)) * (mu[..., None] * ORDER + np.sin(THETA)[:, None])
    return np.linalg.solve(left, (mu * angle * np.sin(THETA))[..., None])[..., 0]


def lifting_line(shape):
    """Lift (m^2), induced drag (m^2) and root bending moment (m^3) of shapes ``(B, 5)``, shape ``(B, 3)``."""
    a = circulation(shape)
    inside = np.linspace(0, np.pi / 2, 201)
    arms = np.trapezoid(np.sin(np.outer(ORDER, inside)) * np.cos(inside) * np.sin(inside), inside)
    return np.stack([np.pi * SPAN**2 * a[:, 0], np.pi * SPAN**2 * (a**2 @ ORDER), SPAN**3 * (a @ arms)], 1)


LOW, HIGH = np.array([0.8, 0.8, 0.5, 0.2, 2.0]), np.array([1.8, 1.7, 1.5, 1.4, 7.0])
shapes = np.random.default_rng(0).uniform(LOW, HIGH, (6000, 5))
loads = lifting_line(shapes)

# %%
# The surrogate
# -------------
# Scaling belongs into the model: its inputs are metres and degrees, its outputs are loads, and so are its derivatives.

keras.utils.set_random_seed(0)
scale = loads.std(0)
model = keras.Sequential(
    [
        keras.Input((5,), name="shape", dtype="float64"),
        keras.layers.Rescaling(2 / (HIGH - LOW), -(HIGH + LOW) / (HIGH - LOW), dtype="float64"),
        keras.layers.Dense(64, "tanh", dtype="float64"),
        keras.layers.Dense(64, "tanh", dtype="float64"),
        keras.layers.Dense(3, dtype="float64"),
        keras.layers.Rescaling(scale, loads.mean(0), dtype="float64", name="loads"),
    ]
)
model.compile(
    keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 60 * 6000 // 64)),
    lambda true, found: keras.ops.mean(((true - found) / scale) ** 2),
    steps_per_execution=50,
)
model.fit(shapes, loads, batch_size=64, epochs=60, verbose=0)

fresh = np.random.default_rng(1).uniform(LOW, HIGH, (500, 5))
error = np.abs(model.predict(fresh, verbose=0) - lifting_line(fresh)).mean(0) / lifting_line(fresh).mean(0)
print("mean error of lift, drag, moment:", ", ".join(f"{e:.2%}" for e in error))

bundle = export(
    model,
    "wing.pullback",
    ["jacobian(loads, shape)", "weighted_hessian(loads, shape)"],
    samples={"shape": fresh[:16]},
    overwrite=True,
)

# %%
# The optimum
# -----------
# ``flat`` gives the functions that SciPy asks for. Lift and bending moment are rows of one constraint, the area is linear
# in the chords. The start is a rectangle.

start = np.array([1.2, 1.2, 1.2, 1.2, 4.0])
lift, drag, moment = lifting_line(start[None])[0]
load, resistance = bundle.flat(of="loads", wrt="shape"), bundle.flat(of="loads[1]", wrt="shape")
area = SPAN * np.array([1, 2, 2, 1, 0]) / 6  # of a shape: area @ shape

held = NonlinearConstraint(
    load.value,
    [lift, -np.inf, -np.inf],
    [lift, np.inf, 0.95 * moment],
    jac=load.jacobian,
    hess=load.hess,
)
best = minimize(
    resistance.value_and_gradient,
    start,
    jac=True,
    hess=resistance.hess,
    method="trust-constr",
    constraints=[held, LinearConstraint(area, area @ start, area @ start)],
    bounds=list(zip(LOW, HIGH)),
    options={"maxiter": 200},
)
print(f"{best.nit} iterations; chords {best.x[:4].round(2)} m at {best.x[4]:.2f} degrees")

# %%
# The solver judges what the surrogate promised.

found = lifting_line(best.x[None])[0]
print(f"lift {found[0] / lift - 1:+.2%}, drag {found[1] / drag - 1:+.2%}, bending moment {found[2] / moment - 1:+.2%}")
assert abs(found[0] / lift - 1) < 0.01 and found[1] < drag and found[2] < moment

# %%
theta = np.linspace(0, np.pi / 2, 200)
along = np.linspace(0, SPAN / 2, 101)
figure, (above, below) = pyplot.subplots(
    2, 1, figsize=(7, 4.4), sharex=True, height_ratios=(1, 2), layout="constrained"
)
for shape, name, colour in ((start, "start", "#9a9a9a"), (best.x, "optimum", "#1f5fa8")):
    half = np.interp(along / along[-1], STATIONS, shape[:4]) / 2
    above.fill_between(along, -half, half, facecolor=colour, edgecolor=colour, alpha=0.3)
    spread = 2 * SPAN * np.sin(np.outer(theta, ORDER)) @ circulation(shape[None])[0]
    below.plot(SPAN / 2 * np.cos(theta), spread, color=colour, label=name)
ellipse = 4 * lift / (np.pi * SPAN) * np.sin(theta) / 2
below.plot(SPAN / 2 * np.cos(theta), ellipse, color="black", linestyle=":", label="ellipse, the same lift")
above.set(ylabel="planform, m")
below.set(xlabel="from the root, m", ylabel="circulation")
below.legend(frameon=False)
pyplot.show()
