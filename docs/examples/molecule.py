"""
A molecule at rest
==================

A small neural potential is fitted to energies of bent and stretched water molecules. ASE relaxes a distorted molecule
with its forces, and the bundle's Hessian gives the vibrations at rest, all compared with the potential that the
energies came from.
"""

import keras
import numpy as np
import tensorflow as tf
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from ase.vibrations import Vibrations
from matplotlib import pyplot
from pullback.integrations.ase import BundleCalculator
from pullback_export import Hessian, export, forces

# %%
# What is learnt
# --------------
# ASE's effective medium theory stands for an expensive calculation. It knows what rests where; the network gets to see
# energies only, of 4000 molecules about the geometry at rest.

water = Atoms("OHH", [[0, 0, 0], [1.0, 0, 0], [-0.3, 0.95, 0]], calculator=EMT())
BFGS(water, logfile=None).run(fmax=1e-4)
rest = water.get_positions()

rng = np.random.default_rng(0)
geometries = rest + rng.normal(0, 0.06, (4000, 3, 3))
energies = []
for positions in geometries:
    water.set_positions(positions)
    energies.append(water.get_potential_energy())
energies = np.array(energies)

# %%
# The potential
# -------------
# The energy is a function of the three distances, in an order that does not tell one hydrogen from the other.


def distances(positions):
    """``(B, 3, 3)`` positions give ``(B, 3)``: mean and squared half difference of the O-H lengths, and the H-H length."""
    first = tf.norm(positions[:, 1] - positions[:, 0], axis=-1)
    second = tf.norm(positions[:, 2] - positions[:, 0], axis=-1)
    across = tf.norm(positions[:, 2] - positions[:, 1], axis=-1)
    return tf.stack([(first + second) / 2, (first - second) ** 2 / 4, across], -1)


known = distances(tf.constant(geometries)).numpy()
keras.utils.set_random_seed(0)
network = keras.Sequential(
    [
        keras.Input((3,), dtype="float64"),
        keras.layers.Normalization(mean=known.mean(0), variance=known.var(0), dtype="float64"),
        keras.layers.Dense(32, "tanh", dtype="float64"),
        keras.layers.Dense(32, "tanh", dtype="float64"),
        keras.layers.Dense(1, dtype="float64"),
        keras.layers.Rescaling(energies.std(), energies.mean(), dtype="float64"),
    ]
)
schedule = keras.optimizers.schedules.CosineDecay(1e-2, 80 * 4000 // 64)
network.compile(keras.optimizers.Adam(schedule), "mse", steps_per_execution=50)
network.fit(known, energies, batch_size=64, epochs=80, verbose=0)
off = network.predict(known, verbose=0)[:, 0] - energies
print(f"energies span {np.ptp(energies):.2f} eV; the network is off by {1000 * np.abs(off).mean():.1f} meV on average")


def potential(positions):
    return {"energy": tf.reduce_sum(network(distances(positions[None])))}


bundle = export(
    potential,
    "water.pullback",
    [forces("energy", "positions"), Hessian("energy", "positions")],
    inputs=[tf.TensorSpec([3, 3], tf.float64, "positions")],
    samples={"positions": geometries[0]},
    batched=False,
    overwrite=True,
)

# %%
# To rest
# -------
# One call of the bundle gives energy and forces. The molecule starts bent and stretched.

molecule = Atoms("OHH", rest + rng.normal(0, 0.08, (3, 3)), calculator=BundleCalculator(bundle))
history = []
relaxation = BFGS(molecule, logfile=None)
relaxation.attach(lambda: history.append((molecule.get_potential_energy(), np.abs(molecule.get_forces()).max())))
relaxation.run(fmax=1e-4)

water.set_positions(rest)


def geometry(atoms):
    return atoms.get_distance(0, 1), atoms.get_distance(0, 2), atoms.get_angle(1, 0, 2)


for name, atoms in (("bundle", molecule), ("EMT", water)):
    print("{:7s} O-H {:.4f} and {:.4f} Angstrom, angle {:.2f} degrees".format(name, *geometry(atoms)))
# The angle is soft: a few degrees cost less than the network's error.
np.testing.assert_allclose(geometry(molecule)[:2], geometry(water)[:2], atol=0.01)

# %%
# Vibrations
# ----------
# The Hessian, weighed by the masses, has the squared frequencies as eigenvalues. ASE gets those of the original
# potential from finite differences of forces, 18 of them.

masses = np.repeat(molecule.get_masses(), 3)
stiffness = bundle(molecule.get_positions()).d2energy_dpositions2.reshape(9, 9)
squared = np.linalg.eigvalsh(stiffness / np.sqrt(np.outer(masses, masses)))[-3:]
ours = np.sqrt(squared) * units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm

finite = Vibrations(water, name="water_vibrations")
finite.run()
theirs = np.real(finite.get_frequencies())[-3:]
finite.clean()
print("bundle:", ours.round(0), "1/cm")
print("EMT:   ", theirs.round(0), "1/cm")

# %%
figure, axes = pyplot.subplots(figsize=(7, 3), layout="constrained")
energy, force = np.array(history).T
axes.semilogy(force, "o-", color="#1f5fa8", label="largest force, eV/Angstrom")
axes.semilogy(np.maximum(energy - energy[-1], 1e-9), "s-", color="#c8442e", label="energy above rest, eV")
axes.set_xlabel("step of BFGS")
axes.legend(frameon=False)
pyplot.show()
