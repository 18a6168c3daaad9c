"""What of ``keras.ops`` is tested where: the rows of every family, and the names that have none with the reason."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import keras

from tests.keras import ops_cases
from tests.lowering.case import Case

FAMILIES: dict[str, dict[str, list[Case]]] = {
    module.name: importlib.import_module(f"tests.keras.ops_cases.{module.name}").ROWS
    for module in pkgutil.iter_modules(ops_cases.__path__)
}

EXCLUDED: dict[str, str] = {
    **dict.fromkeys(("bartlett", "corrcoef"), "Keras branches on a tensor in Python: no function can trace it"),
    "convert_to_numpy": "leaves the graph: it has no symbolic form",
    "image.elastic_transform": "draws random displacements: the exporter refuses random ops by name",
    "isin": "Keras branches on a tensor in Python (OperatorNotAllowedInGraphError): no function can trace it",
    "vectorize": "Keras: not supported with the TensorFlow backend",
    "ctc_decode": "search over strings of labels: integers, no derivative, and no tensor program in TensorFlow",
    "kron": "Keras chooses its branch by tf.cond on ranks, with a Python loop over a tensor: no function can trace it",
    "jvp": "forward mode on eager tensors; the exporter has the kind jvp",
}


def public_names() -> dict[str, object]:
    """Every function of ``keras.ops`` and, under ``module.name``, those that only its submodules have."""
    names: dict[str, object] = {}
    modules = [("", keras.ops)]
    modules += [(f"{name}.", item) for name, item in inspect.getmembers(keras.ops, inspect.ismodule) if name[0] != "_"]
    for prefix, module in modules:
        for name, item in inspect.getmembers(module, callable):
            if not name.startswith("_") and item not in names.values():
                names[prefix + name] = item
    return names
