"""
A pendulum under an LSTM's control
==================================

Model predictive control plans a few moves ahead with a model of the plant, makes the first move, looks at the plant, and
plans again. Here the model is an LSTM that was trained on recorded swings, the planner is IPOPT by way of CasADi, and
what IPOPT needs from the LSTM, trajectories and their Jacobian with respect to the planned torques, comes from a bundle.
"""

import casadi
import keras
import numpy as np
from matplotlib import pyplot
from pullback.integrations import casadi as bundle_in_casadi
from pullback_export import export

# %%
# The plant
# ---------
# A damped pendulum, 1 m long, that a motor turns. One step is 0.1 s of constant torque, integrated in ten small ones.
# The controller never sees these equations, only recordings of them.

STEP, HORIZON, LIMIT = 0.1, 15, 6.0


def plant(state, torque):
    """``state (B, 2)``, angle from hanging and speed, and ``torque (B,)`` give the state a step later, ``(B, 2)``."""
    angle, speed = state[:, 0], state[:, 1]
    for _ in range(10):
        speed = speed + STEP / 10 * (torque - 9.81 * np.sin(angle) - 0.3 * speed)
        angle = angle + STEP / 10 * speed
    return np.stack([angle, speed], 1)


def record(rng, swings):
    """Swings from random states under torques that change now and then: states, torques, trajectories."""
    state = rng.uniform([-1.0, -4.0], [2.5, 4.0], (swings, 2))
    torque = np.repeat(rng.uniform(-LIMIT, LIMIT, (swings, HORIZON // 3, 1)), 3, 1)
    torque = np.clip(torque + rng.normal(0, 1, torque.shape), -LIMIT, LIMIT)
    trajectory, now = [], state
    for step in range(HORIZON):
        now = plant(now, torque[:, step, 0])
        trajectory.append(now)
    return state, torque, np.stack(trajectory, 1)


# %%
# The surrogate
# -------------
# ``state (B, 2)`` and ``torque (B, 15, 1)`` give ``trajectory (B, 15, 2)``: the state is where the LSTM starts from, the
# torques are what it reads.

keras.utils.set_random_seed(0)
start = keras.Input((2,), name="state")
torques = keras.Input((HORIZON, 1), name="torque")
hidden = keras.layers.Dense(32, activation="tanh")(start)
memory = keras.layers.Dense(32)(start)
swing = keras.layers.LSTM(32, return_sequences=True)(torques, initial_state=[hidden, memory])
swing = keras.layers.Dense(32, activation="tanh")(
    keras.layers.Concatenate()([swing, keras.layers.RepeatVector(HORIZON)(start)])
)
model = keras.Model([start, torques], keras.layers.Dense(2, name="trajectory")(swing))

states, moves, swings = record(np.random.default_rng(0), 4000)
schedule = keras.optimizers.schedules.CosineDecay(1e-2, 40 * 4000 // 128)
model.compile(keras.optimizers.Adam(schedule), "mse", steps_per_execution=20)
model.fit([states, moves], swings, batch_size=128, epochs=40, verbose=0)

new_states, new_moves, new_swings = record(np.random.default_rng(1), 500)
error = np.abs(model.predict([new_states, new_moves], verbose=0) - new_swings)[..., 0]
print(
    f"angle on new swings: off by {np.degrees(error.mean()):.1f} degrees on average, {np.degrees(error[:, 0].mean()):.1f} after one step"
)

# %%
# The export asks for the Jacobians of the trajectory with respect to both inputs, and for float64 arithmetic, which an
# optimiser's tolerances are made for. The samples are swings that the model was not trained on.

bundle = export(
    model,
    "pendulum.pullback",
    ["jacobian(trajectory, state)", "jacobian(trajectory, torque)"],
    samples={"state": new_states[:8], "torque": new_moves[:8]},
    precision="float64",
    overwrite=True,
)
print(bundle)

# %%
# The planner
# -----------
# The bundle is a CasADi function like any other. The plan is the list of torques that brings the angle to its target
# over the horizon, with little effort and no jerks, within the limit of the motor.

surrogate = bundle_in_casadi.function(bundle, wrt=["state", "torque"])

torque = casadi.MX.sym("torque", HORIZON)
parameters = casadi.MX.sym("parameters", 4)  # the state now, the torque before, the target
state, before, target = parameters[:2], parameters[2], parameters[3]
angle = surrogate(state, torque)[:, 0]
changes = torque - casadi.vertcat(before, torque[:-1])
cost = casadi.sumsqr(angle - target) + 1e-3 * casadi.sumsqr(changes)
options = {
    "ipopt": {"hessian_approximation": "limited-memory", "print_level": 0, "tol": 1e-4, "max_iter": 50},
    "print_time": False,
}
planner = casadi.nlpsol("planner", "ipopt", {"x": torque, "p": parameters, "f": cost}, options)

# %%
# The loop
# --------
# Six seconds. Every 0.1 s the planner sees the plant's state, plans 1.5 s ahead from the plan before, and the plant gets
# the first torque of the plan.

targets = np.radians(np.repeat([30.0, -35.0, 10.0], 20))
now, plan, torques_given, angles, iterations = np.array([0.0, 0.0]), np.zeros(HORIZON), [], [], []
for goal in targets:
    last = torques_given[-1] if torques_given else 0.0
    found = planner(x0=plan, p=[*now, last, goal], lbx=-LIMIT, ubx=LIMIT)
    iterations.append(planner.stats()["iter_count"])
    plan = found["x"].full()[:, 0]
    torques_given.append(plan[0])
    now = plant(now[None], plan[:1])[0]
    angles.append(now[0])
    plan = np.append(plan[1:], plan[-1])

settled = np.abs(np.degrees(np.array(angles) - targets)).reshape(3, 20)[:, 10:]
print(
    f"IPOPT took {np.mean(iterations):.0f} iterations a plan; after the first second of each target the angle is off by"
)
print(", ".join(f"{off.mean():.1f}" for off in settled), "degrees on average")
assert settled.mean() < 4, "the controller lost the pendulum"

# %%
times = STEP * np.arange(1, len(targets) + 1)
figure, (above, below) = pyplot.subplots(2, 1, figsize=(7, 4.6), sharex=True, layout="constrained")
above.step(times, np.degrees(targets), where="pre", color="#9a9a9a", label="target")
above.plot(times, np.degrees(angles), color="#1f5fa8", label="pendulum")
above.set_ylabel("angle, degrees")
above.legend(frameon=False)
below.step(times, torques_given, where="pre", color="#c8442e")
below.axhline(LIMIT, color="#9a9a9a", linestyle=":")
below.axhline(-LIMIT, color="#9a9a9a", linestyle=":")
below.set(xlabel="time, s", ylabel="torque, Nm")
pyplot.show()
