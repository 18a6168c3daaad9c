"""``BundleCalculator`` in ASE: numerical forces and stress, relaxation, the energy of a trajectory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pullback
import pytest
from ase import Atoms, units
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from pullback.integrations.ase import BundleCalculator


def cluster(bundle: pullback.Bundle) -> Any:
    """Eight argon atoms near the corners of a cube, in a box that nothing crosses."""
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), -1).reshape(-1, 3) * 3.8
    moved = corners + np.random.default_rng(0).normal(scale=0.1, size=corners.shape) + 8
    atoms = Atoms("Ar8", positions=moved, cell=np.eye(3) * 20)
    atoms.calc = BundleCalculator(bundle, strain="strain")
    return atoms


def test_forces_and_stress_are_numerical_ones(atoms_bundle: pullback.Bundle) -> None:
    atoms = cluster(atoms_bundle)
    np.testing.assert_allclose(atoms.get_forces(), calculate_numerical_forces(atoms, eps=1e-4), atol=1e-7)
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-8)
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy()


def test_relaxation(atoms_bundle: pullback.Bundle) -> None:
    atoms = cluster(atoms_bundle)
    before = atoms.get_potential_energy()
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=300)
    assert atoms.get_potential_energy() < before - 0.01
    assert np.abs(atoms.get_forces()).max() < 1e-3


def test_energy_of_a_trajectory_is_kept(atoms_bundle: pullback.Bundle) -> None:
    """1000 steps of 2 fs at constant energy; the drift is a small part of the kinetic energy."""
    atoms = cluster(atoms_bundle)
    BFGS(atoms, logfile=None).run(fmax=1e-2, steps=300)
    thermalize_momenta(atoms, temperature_K=15, rng=np.random.default_rng(1))
    kinetic, total = atoms.get_kinetic_energy(), atoms.get_total_energy()
    VelocityVerlet(atoms, timestep=2 * units.fs).run(1000)
    assert abs(atoms.get_total_energy() - total) < 2e-2 * kinetic


def test_one_call_for_all(atoms_bundle: pullback.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = cluster(atoms_bundle)
    calls = []
    honest = BundleCalculator.calculate

    def counted(self: Any, *arguments: Any) -> None:
        calls.append(arguments)
        honest(self, *arguments)

    monkeypatch.setattr(BundleCalculator, "calculate", counted)
    atoms.get_forces(), atoms.get_potential_energy(), atoms.get_stress()
    assert len(calls) == 1


def test_units(atoms_bundle: pullback.Bundle) -> None:
    """A model in kJ/mol and nm, say, differs by factors only."""
    atoms = cluster(atoms_bundle)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    scaled = atoms.copy()
    scaled.set_positions(atoms.get_positions() * 10)
    scaled.calc = BundleCalculator(atoms_bundle, given={"strain": np.zeros((3, 3))}, energy_unit=2.0, length_unit=10.0)
    assert scaled.get_potential_energy() == pytest.approx(2 * energy, rel=1e-12)
    np.testing.assert_allclose(scaled.get_forces(), forces * 2 / 10, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy": "e"}, "energy='e': choose one of the outputs, energy"),
        ({"given": {"charge": 1}}, "there is no input 'charge'"),
        ({"positions": "r"}, r"gradient\(energy, r\)"),
    ],
)
def test_mistakes_are_named(atoms_bundle: pullback.Bundle, options: Any, message: str) -> None:
    with pytest.raises((pullback.InputError, pullback.NotExportedError), match=message):
        BundleCalculator(atoms_bundle, **options)
