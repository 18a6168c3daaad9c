"""Mistakes with ASE, tables, dask arrays and explanations."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.integrations.mistakes import Bundles, Entry, Impossible, Row

X = np.array([[0.3, -0.5, 0.8], [1.2, 0.1, -0.7], [0.4, 0.4, 0.1]])


def _atoms(b: Bundles, **options: Any) -> Any:
    from ase import Atoms
    from pullback.integrations.ase import BundleCalculator

    atoms = Atoms("Ar2", positions=[[0, 0, 0], [0, 0, 3.9]], cell=np.eye(3) * 20)
    atoms.calc = BundleCalculator(options.pop("bundle", None) or b.atoms, **options)
    return atoms


def _ase_memory(b: Bundles) -> Any:
    atoms = _atoms(b)
    forces = atoms.get_forces()
    forces += 1
    atoms.get_positions()[0] += 1
    return atoms.get_forces(), _atoms(b).get_forces()


def _of_several_numbers(b: Bundles) -> Any:
    return _atoms(b, bundle=b.hill, energy="c", positions="x")


def _of_atoms(b: Bundles) -> Any:
    given = {"gain": 1.0, "v": np.ones(3), "index": 0, "negate": False}
    return _atoms(b, bundle=b.mixed, energy="y", positions="w", given=given)


ASE: tuple[Entry, ...] = (
    Row("ase", "sample", "a model of several numbers", _of_several_numbers, "needs one number"),
    Row("ase", "memory", "forces changed in place", _ase_memory),
    Row(
        "ase",
        "order",
        "energy= and positions= exchanged",
        lambda b: _atoms(b, energy="positions"),
        "one of the outputs",
    ),
    Impossible("ase", "precision", "energies and forces are float64 whatever the model is"),
    Row(
        *("ase", "size", "a strain of 2 x 2"),
        lambda b: _atoms(b, given={"strain": np.zeros((2, 2))}).get_forces(),
        "must have size 3",
    ),
    Row("ase", "missing", "the forces", _of_atoms, "export the bundle with gradient(y, w)"),
)


def _frame(columns: str = "x[0] x[1] x[2]", values: Any = X) -> Any:
    import pandas as pd

    return pd.DataFrame(values, columns=columns.split())


def _table(bundle: Any, frame: Any, **options: Any) -> Any:
    from pullback.integrations.tables import evaluate

    return evaluate(bundle, frame, **options)


def _reordered(b: Bundles) -> Any:
    return _table(b.hill, _frame("x[2] x[0] x[1]", X[:, [2, 0, 1]]))["energy"], b.hill(X).energy


def _frame_stays(b: Bundles) -> Any:
    frame = _frame()
    found = _table(b.hill, frame)
    found.loc[:, "energy"] = 0.0
    frame.loc[:, "x[0]"] = 0.0
    return _table(b.hill, _frame())["energy"], b.hill(X).energy


TABLES: tuple[Entry, ...] = (
    Row("tables", "sample", "a series", lambda b: _table(b.hill, _frame().iloc[0]), "to_frame"),
    Row("tables", "memory", "both frames changed in place", _frame_stays),
    Row("tables", "order", "columns in another order", _reordered),
    Row("tables", "precision", "1e300", lambda b: _table(b.hill32, _frame(values=X * 1e300)), "cannot hold"),
    Row(
        "tables", "size", "a column too few", lambda b: _table(b.hill, _frame().iloc[:, :2]), "lacks the column 'x[2]'"
    ),
    Row(
        *("tables", "missing", "fetch= of what is not there"),
        lambda b: _table(b.hill, _frame(), fetch="lap_energy_x"),
        "lap_energy_x",
    ),
)


def _blocks(bundle: Any, x: Any, **options: Any) -> Any:
    import dask.array
    from pullback.integrations.dask import map_blocks

    array = dask.array.from_array(np.asarray(x), chunks=2) if isinstance(x, np.ndarray) else x
    return map_blocks(bundle, array, **options)


def _dask_memory(b: Bundles) -> Any:
    x = X.copy()
    found = _blocks(b.hill, x).energy.compute()
    x += 1
    return found, b.hill(X).energy


DASK: tuple[Entry, ...] = (
    Row("dask", "sample", "one sample", lambda b: _blocks(b.hill, X[0]), "must be x: float64 (B, 3)"),
    Row("dask", "sample", "an array of NumPy", lambda b: _blocks(b.hill, [1.0]), "must be a dask array, got list"),
    Row("dask", "memory", "x changed after the computation", _dask_memory),
    Row("dask", "order", "two arrays for one", lambda b: _blocks(b.hill, X, z=X), "takes x once each"),
    Row(
        *("dask", "precision", "1e300"),
        *(lambda b: _blocks(b.hill32, X * 1e300).energy.compute(), "float32 cannot hold"),
    ),
    Row("dask", "size", "four columns", lambda b: _blocks(b.hill, np.ones((2, 4))), "got shape (2, 4)"),
    Row("dask", "missing", "fetch= of what is not there", lambda b: _blocks(b.hill, X, fetch="z"), "z"),
)


def _saliency(b: Bundles, x: Any, of: str = "energy", bundle: Any = None, **options: Any) -> Any:
    from pullback import explain

    return explain.saliency(bundle or b.hill, x, of, **options)


def _explain_memory(b: Bundles) -> Any:
    x = X.copy()
    found = _saliency(b, x, signed=True)
    x += 1
    return found, b.hill(X).denergy_dx


EXPLAIN: tuple[Entry, ...] = (
    Row("explain", "sample", "one sample", lambda b: (_saliency(b, X[0], signed=True), b.hill(X).denergy_dx[0])),
    Row("explain", "memory", "x changed in place", _explain_memory),
    Row("explain", "order", "an input as of=", lambda b: _saliency(b, X, "x"), "x"),
    Row(
        *("explain", "precision", "float64 into float32"),
        lambda b: (_saliency(b, X, bundle=b.hill32, signed=True), b.hill(X).denergy_dx),
        tolerance=1e-5,
    ),
    Row("explain", "size", "four numbers for three", lambda b: _saliency(b, np.ones((2, 4))), "3"),
    Row("explain", "size", "a vector output", lambda b: _saliency(b, X, "c"), "c[0]"),
    Row("explain", "missing", "a layer", lambda b: _cam(b), "no layer"),
)


def _cam(b: Bundles) -> Any:
    from pullback import explain

    return explain.grad_cam(b.picture, np.ones((1, 8, 8, 1)), "score", "conv")


ENTRIES: tuple[Entry, ...] = (*ASE, *TABLES, *DASK, *EXPLAIN)
