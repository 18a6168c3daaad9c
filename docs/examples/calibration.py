"""
A calibrated posterior
======================

What do noisy measurements say about the parameters of a simulator? A sampler that follows gradients needs thousands of
them; a network in the place of the simulator gives them for microseconds. `nutpie <https://pymc-devs.github.io/nutpie>`_
draws from the posterior by the bundle, and the simulator itself, evaluated on a grid, judges the result.
"""

import keras
import numpy as np
import nutpie
from matplotlib import pyplot
from nutpie.compiled_pyfunc import from_pyfunc
from pullback_export import export
from scipy.optimize import minimize

# %%
# Simulator and measurements
# --------------------------
# A mass on a spring with a damper, let go at 1: frequency and damping are wanted, from twelve readings with noise.

TIMES = np.linspace(0.3, 6, 12)
LOW, HIGH, NOISE = np.array([1.0, 0.05]), np.array([3.0, 1.0]), 0.1


def simulate(parameters):
    """Positions ``(B, 12)`` for frequency and damping ``(B, 2)``."""
    frequency, damping = parameters[:, :1], parameters[:, 1:]
    return np.exp(-damping * TIMES) * np.cos(frequency * TIMES)


truth = np.array([1.9, 0.3])
rng = np.random.default_rng(3)
measured = simulate(truth[None])[0] + rng.normal(0, NOISE, len(TIMES))

# %%
# Surrogate and bundle
# --------------------

keras.utils.set_random_seed(0)
runs = rng.uniform(LOW, HIGH, (4000, 2))
model = keras.Sequential(
    [
        keras.Input((2,), name="parameters", dtype="float64"),
        keras.layers.Rescaling(2 / (HIGH - LOW), -(HIGH + LOW) / (HIGH - LOW), dtype="float64"),
        keras.layers.Dense(64, "tanh", dtype="float64"),
        keras.layers.Dense(64, "tanh", dtype="float64"),
        keras.layers.Dense(12, dtype="float64", name="positions"),
    ]
)
schedule = keras.optimizers.schedules.CosineDecay(1e-2, 100 * 4000 // 64)
model.compile(keras.optimizers.Adam(schedule), "mse", steps_per_execution=50)
model.fit(runs, simulate(runs), batch_size=64, epochs=100, verbose=0)

fresh = rng.uniform(LOW, HIGH, (500, 2))
off = model.predict(fresh, verbose=0) - simulate(fresh)
print(f"surrogate: off by {np.sqrt(np.mean(off**2)):.4f}, against noise of {NOISE}")

bundle = export(
    model, "spring.pullback", ["jacobian(positions, parameters)"], samples={"parameters": fresh[:16]}, overwrite=True
)

# %%
# The posterior
# -------------
# A flat prior on the box, normal noise. The sampler works on all of the plane: the logistic function maps it to the
# box, and its logarithmic derivative joins the density. Value and gradient take one call of the bundle.

view = bundle.flat(of="positions", wrt="parameters")


def parameters_of(z):
    return LOW + (HIGH - LOW) / (1 + np.exp(-z))


def log_posterior(z):
    """Value and gradient ``(2,)`` at ``z (2,)``."""
    share = 1 / (1 + np.exp(-z))
    positions, jacobian = view.value_and_jacobian(LOW + (HIGH - LOW) * share)
    misfit = (measured - positions) / NOISE
    value = -0.5 * misfit @ misfit - (np.logaddexp(0, z) + np.logaddexp(0, -z)).sum()
    gradient = (HIGH - LOW) * share * (1 - share) * (misfit / NOISE @ jacobian) + 1 - 2 * share
    return float(value), gradient


best = minimize(lambda z: tuple(-part for part in log_posterior(z)), np.zeros(2), jac=True)
print("densest at", parameters_of(best.x).round(3), "and the truth is", truth)

density = from_pyfunc(
    2,
    lambda: log_posterior,
    lambda *seeds: lambda z: {"parameters": parameters_of(z)},
    [np.dtype("float64")],
    [(2,)],
    ["parameters"],
)
trace = nutpie.sample(density, draws=1500, tune=500, chains=2, cores=1, seed=1, progress_bar=False)
draws = trace.posterior["parameters"].values.reshape(-1, 2)

# %%
# The judge
# ---------
# The same posterior from the simulator itself, on a grid of 400 x 400 points.

frequencies, dampings = np.linspace(LOW[0], HIGH[0], 400), np.linspace(LOW[1], HIGH[1], 400)
grid = np.stack(np.meshgrid(frequencies, dampings), -1).reshape(-1, 2)
probability = np.exp(-0.5 * (((measured - simulate(grid)) / NOISE) ** 2).sum(1))
probability /= probability.sum()
mean = probability @ grid
spread = np.sqrt(probability @ (grid - mean) ** 2)
for index, name in enumerate(("frequency", "damping")):
    print(
        f"{name:9s} sampled {draws[:, index].mean():.3f} +- {draws[:, index].std():.3f},"
        f" on the grid {mean[index]:.3f} +- {spread[index]:.3f}"
    )
np.testing.assert_allclose(draws.mean(0), mean, atol=0.25 * spread.min())
np.testing.assert_allclose(draws.std(0), spread, rtol=0.15)

# %%
figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
left.scatter(*draws.T, s=3, color="#1f5fa8", alpha=0.3, label="draws, by the bundle")
levels = np.sort(probability)[::-1]
inside = [levels[np.searchsorted(np.cumsum(levels), share)] for share in (0.95, 0.5)]
left.contour(frequencies, dampings, probability.reshape(400, 400), levels=inside, colors="black", linewidths=1)
left.plot(*truth, "+", color="#c8442e", markersize=12, markeredgewidth=2, label="truth")
margin = 5 * spread
left.set(xlim=(mean[0] - margin[0], mean[0] + margin[0]), ylim=(mean[1] - margin[1], mean[1] + margin[1]))
left.set(xlabel="frequency", ylabel="damping", title="posterior; lines: 50 and 95 % by the simulator")
left.legend(frameon=False)
fine = bundle(draws[::40]).positions
right.plot(TIMES, fine.T, color="#1f5fa8", alpha=0.15)
right.errorbar(TIMES, measured, NOISE, fmt="o", color="#c8442e", label="measured")
right.set(xlabel="time", title="what draws of the posterior predict")
right.legend(frameon=False)
pyplot.show()
