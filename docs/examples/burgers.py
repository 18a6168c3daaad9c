"""
Where a physics-informed network breaks its law
===============================================

A physics-informed network is trained to satisfy a differential equation, here that of Burgers,
``u_t + u u_x = nu u_xx``. How well it does is its residual: first and second derivatives with respect to the
coordinates, at points that it was not trained on. With a bundle this check needs neither TensorFlow nor the training code.
"""

import keras
import numpy as np
import tensorflow as tf
from matplotlib import pyplot
from pullback_export import export

# %%
# Training
# --------
# ``u(x, t)`` for -1 <= x <= 1 and 0 <= t <= 1, with u = -sin(pi x) at the start and u = 0 at both ends. The loss is the
# squared residual at random points. Start and ends hold by construction.

NU = 0.1 / np.pi

keras.utils.set_random_seed(0)
coordinates = [keras.Input((1,), name=name) for name in ("x", "t")]
hidden = keras.layers.Concatenate()(coordinates)
for _ in range(3):
    hidden = keras.layers.Dense(32, "tanh")(hidden)
free = keras.layers.Dense(1)(hidden)
x, t = coordinates
u = keras.layers.Lambda(lambda v: -keras.ops.sin(np.pi * v[0]) + v[1] * (1 - v[0] ** 2) * v[2], name="u")([x, t, free])
model = keras.Model({"x": x, "t": t}, u)


@tf.function
def loss(x, t):
    with tf.GradientTape(persistent=True) as outer:
        outer.watch([x, t])
        with tf.GradientTape() as inner:
            inner.watch(x)
            u = model({"x": x, "t": t})
        u_x = inner.gradient(u, x)
    u_t, u_xx = outer.gradient(u, t), outer.gradient(u_x, x)
    return tf.reduce_mean((u_t + u * u_x - NU * u_xx) ** 2)


optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(5e-3, 2000))
points = np.random.default_rng(0)


@tf.function
def step(x, t):
    with tf.GradientTape() as tape:
        value = loss(x, t)
    optimizer.apply_gradients(zip(tape.gradient(value, model.trainable_variables), model.trainable_variables))
    return value


for count in range(2000):
    batch = points.uniform([-1, 0], [1, 1], (512, 2)).astype("float32")
    value = step(tf.constant(batch[:, :1]), tf.constant(batch[:, 1:]))
    if count in (0, 199, 1999):
        print(f"step {count + 1}: mean squared residual {float(value):.1e}")

# %%
# Three derivatives
# -----------------
# They are requested one by one and share a forward pass. ``precision="float64"`` takes rounding out of the second one.

bundle = export(
    model,
    "burgers.pullback",
    ["derivative(u, t)", "derivative(u, x)", "derivative(u, x, x)"],
    samples={"x": points.uniform(-1, 1, (32, 1)), "t": points.uniform(0, 1, (32, 1))},
    precision="float64",
    overwrite=True,
)
print(bundle)

# %%
# The residual
# ------------
# On a grid of 201 x 101 points, in one call.

xs, ts = np.linspace(-1, 1, 201), np.linspace(0, 1, 101)
grid = np.stack(np.meshgrid(xs, ts), -1).reshape(-1, 2)
u, u_t, u_x, u_xx = bundle(x=grid[:, :1], t=grid[:, 1:])
residual = (u_t + u * u_x - NU * u_xx).reshape(101, 201)
print(f"residual: {np.sqrt(np.mean(residual**2)):.3f} on average, {np.abs(residual).max():.2f} at most")

# %%
# The equation has a solution in closed form, the Cole-Hopf transform, as a Gaussian integral. So we see what the residual
# is a sign of: the network's error.

nodes, weights = np.polynomial.hermite.hermgauss(100)


def exact(x, t):
    """Burgers' equation from -sin(pi x), by Gauss-Hermite quadrature."""
    place = x[:, None] - np.sqrt(4 * NU * t[:, None]) * nodes
    heat = weights * np.exp(-np.cos(np.pi * place) / (2 * np.pi * NU))
    return -(np.sin(np.pi * place) * heat).sum(1) / heat.sum(1)


error = (u[:, 0] - exact(grid[:, 0], grid[:, 1])).reshape(101, 201)
print(f"error of u: {np.sqrt(np.mean(error**2)):.4f} on average, {np.abs(error).max():.3f} at most")
assert np.abs(error).max() < 0.1

# %%
figure, panels = pyplot.subplots(1, 3, figsize=(9, 3), sharey=True, layout="constrained")
for axes, field, title in zip(panels, (u.reshape(101, 201), residual, error), ("u", "residual", "error of u")):
    largest = np.abs(field).max()
    picture = axes.pcolormesh(xs, ts, field, cmap="RdBu_r", vmin=-largest, vmax=largest, rasterized=True)
    axes.set(title=title, xlabel="x")
    figure.colorbar(picture, ax=axes, shrink=0.9)
panels[0].set_ylabel("t")
pyplot.show()
