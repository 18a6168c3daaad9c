"""A bundle as a calculator of ASE. Needs ``pip install "pullback[ase]"``.

Energies are in eV, lengths in Angstrom, forces in eV/Angstrom, stresses in eV/Angstrom^3, as everywhere in ASE; a model
in other units is exported with ``scaling=``, or ``energy_unit`` and ``length_unit`` say what they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pullback.backends import Array
from pullback.bundle import Bundle
from pullback.errors import InputError, MissingDependencyError, NotExportedError
from pullback.integrations.whole_derivatives import inputs_of, is_whole, values_of
from pullback.manifest import shape_text

try:
    from ase.calculators.calculator import Calculator, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress
except ImportError as error:
    raise MissingDependencyError('ASE is not installed: pip install "pullback[ase]"') from error

# What an input of the model is read from, by the name that the input usually has.
ATOMS: dict[str, Callable[[Any], Any]] = {
    "positions": lambda atoms: atoms.get_positions(),
    "numbers": lambda atoms: atoms.get_atomic_numbers(),
    "species": lambda atoms: atoms.get_atomic_numbers(),
    "cell": lambda atoms: atoms.get_cell().array,
    "pbc": lambda atoms: atoms.get_pbc(),
    "charges": lambda atoms: atoms.get_initial_charges(),
    "masses": lambda atoms: atoms.get_masses(),
    "strain": lambda atoms: np.zeros((3, 3)),
}


class BundleCalculator(Calculator):  # type: ignore[misc]  # ASE has no types
    """Energy, forces and, where the model has a strain, stress: one call of the bundle for all of them.

    Args:
        bundle: of a whole-tensor function (``batched=False``) or of a batch of one structure, with a derivative of the
            energy with respect to the positions (``forces(energy, positions)`` or the gradient).
        energy: the output that is the energy.
        positions: the input of shape ``(atoms, 3)``.
        strain: an input of shape ``(3, 3)`` that deforms positions and cell as ``r (1 + strain)``; the stress is the
            gradient by it at zero, symmetric, over the volume.
        given: further inputs by name: an array, or a function of the ``Atoms`` (a neighbour list, say). Inputs named as
            in :data:`ATOMS` need none.
        energy_unit: eV in one unit of the model's energy.
        length_unit: Angstrom in one unit of the model's lengths.

    Raises:
        NotExportedError: the derivative is not in the bundle; the message says what to export.
        InputError: an input that is neither in :data:`ATOMS` nor in ``given``.
    """

    implemented_properties: tuple[str, ...] = ("energy", "free_energy", "forces")

    def __init__(
        self,
        bundle: Bundle,
        energy: str = "energy",
        *,
        positions: str = "positions",
        strain: str | None = None,
        given: Mapping[str, Any] | None = None,
        energy_unit: float = 1.0,
        length_unit: float = 1.0,
        **options: Any,
    ) -> None:
        bundle.spec.refuse_points("ASE")
        self._bundle, self._energy, self._positions, self._strain = bundle, energy, positions, strain
        self._units = energy_unit, length_unit
        self._sources = self._filled(dict(given or {}))
        self._require_energy()
        self._forces = self._derivative(positions)
        self._virial = self._derivative(strain) if strain is not None else None
        if strain is not None:
            self.implemented_properties = (*BundleCalculator.implemented_properties, "stress")
        super().__init__(**options)

    def calculate(self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes) -> None:
        """Everything at once: what ASE requests next at the same structure is already computed."""
        super().calculate(atoms, properties, system_changes)
        energy_unit, length_unit = self._units
        batch = self._bundle.functions["evaluate"].spec.batched
        feeds: dict[str, Any] = {name: self._input(name) for name in self._sources}
        names = [self._energy, self._forces[0], *([self._virial[0]] if self._virial else [])]
        found = [np.asarray(item, np.float64) for item in self._bundle.functions["evaluate"](fetch=names, **feeds)]
        found = [item[0] for item in found] if batch else found
        energy = float(found[0].reshape(())) * energy_unit
        forces = -found[1] / self._forces[1] * (energy_unit / length_unit)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self._virial:
            virial = found[2] / self._virial[1] * energy_unit
            stress = (virial + virial.T) / 2 / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)

    def _input(self, name: str) -> Array:
        source = self._sources[name]
        tensor = next(item for item in inputs_of(self._bundle) if item.name == name)
        array = np.asarray(source(self.atoms) if callable(source) else source)
        if name in (self._positions, "cell"):
            array = array / self._units[1]
        array = array.astype(tensor.dtype)
        return array[None] if tensor.is_batched else array

    def _filled(self, given: dict[str, Any]) -> dict[str, Any]:
        sources: dict[str, Any] = {}
        for tensor in inputs_of(self._bundle):
            name = tensor.name
            role = "positions" if name == self._positions else "strain" if name == self._strain else name
            if name in given:
                sources[name] = given.pop(name)
            elif role in ATOMS:
                sources[name] = ATOMS[role]
            else:
                raise InputError(f"input {name!r}: give given={{{name!r}: an array, or a function of the atoms}}")
        if given:
            raise InputError(f"given: there is no input {', '.join(map(repr, given))}; inputs: {', '.join(sources)}")
        return sources

    def _require_energy(self) -> None:
        tensors = {tensor.name: tensor for tensor in values_of(self._bundle)}
        if self._energy not in tensors:
            raise InputError(f"energy={self._energy!r}: choose one of the outputs, {', '.join(tensors)}")
        shape = tensors[self._energy].shape[int(tensors[self._energy].is_batched) :]
        if any(size != 1 for size in shape):
            raise InputError(
                f"energy={self._energy!r}: it has the shape {shape_text(shape)} for one structure; a calculator needs"
                " one number: export a model that gives the sum as well"
            )

    def _derivative(self, wrt: str) -> tuple[str, float]:
        """Which result holds the derivative of the energy, and what it is multiplied by."""
        for item in self._bundle.functions["evaluate"].spec.derivatives:
            if (
                (item.of, item.wrt) == (self._energy, (wrt,))
                and item.kind in ("gradient", "jacobian")
                and is_whole(item)
            ):
                return item.name, item.scale
        raise NotExportedError(f"export the bundle with gradient({self._energy}, {wrt}) as well")
