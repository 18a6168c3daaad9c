"""Short names for the nodes of a written SavedModel: most of its file are the names of layers, again in every reader.

What TensorFlow computes does not depend on names within functions. Names that are seen from outside stay: those of the
main graph, of functions, and of what the object graph calls; so do names that are part of what an operator does.
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Mapping, Set
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.saved_model import fingerprinting_utils

# A graph of this many bytes is mostly constants, and is not read again for the sake of its names.
_LARGEST = 2**27

# Operators with one of these attributes may find what they share by their name.
_SHARING = frozenset({"shared_name", "container", "use_node_name_sharing"})
_COLOCATED, _PREFIX = "_class", b"loc:@"


def shorten_names(folder: pathlib.Path) -> None:
    """Rewrites ``saved_model.pb`` in ``folder``, and its fingerprint."""
    path = folder / "saved_model.pb"
    if path.stat().st_size > _LARGEST:
        return
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        functions = graph.graph_def.library.function
        called = {node.op for item in functions for node in item.node_def} | {node.op for node in graph.graph_def.node}
        public = set(graph.object_graph_def.concrete_functions)
        captured = {
            (node.captured_tensor.concrete_function, node.captured_tensor.name.partition(":")[0])
            for node in graph.object_graph_def.nodes
            if node.WhichOneof("kind") == "captured_tensor"
        }
        for function in functions:
            name = function.signature.name
            fixed = {tensor for owner, tensor in captured if owner == name}
            _shorten(function, fixed, keeps_arguments=name in called or name in public)
    path.write_bytes(saved.SerializeToString(deterministic=True))
    fingerprinting_utils.write_fingerprint(str(folder))


def _shorten(function: Any, fixed: Set[str], keeps_arguments: bool) -> None:
    """All names but the ``fixed`` ones; ``keeps_arguments``: others know its operands and results by their names."""
    arguments = [argument.name for argument in function.signature.input_arg]
    kept = {node.name for node in function.node_def if node.name in fixed or _SHARING & set(node.attr)}
    kept |= {name for name in arguments if keeps_arguments or name in fixed}
    names, taken = {name: name for name in kept}, set(kept)
    counts: collections.Counter[str] = collections.Counter()
    for name in arguments:
        names[name] = names.get(name) or _free("a", counts, taken)
    for node in function.node_def:
        names[node.name] = names.get(node.name) or _free(node.op.lstrip("_"), counts, taken)
    for argument in function.signature.input_arg:
        argument.name = names[argument.name]
    for node in function.node_def:
        node.name = names[node.name]
        node.input[:] = [_renamed(item, names) for item in node.input]
        if _COLOCATED in node.attr:
            places = node.attr[_COLOCATED].list.s
            places[:] = [_place(item, names) for item in places]
    _rename_results(function, names, keeps_arguments)


def _rename_results(function: Any, names: Mapping[str, str], keeps_arguments: bool) -> None:
    results = {argument.name: argument.name for argument in function.signature.output_arg}
    if not keeps_arguments:
        results = {name: f"r{index}" for index, name in enumerate(results)}
    _rename_keys(function.ret, results, names)
    for argument in function.signature.output_arg:
        argument.name = results[argument.name]
    controls = {name: f"c{index}" for index, name in enumerate(function.signature.control_output)}
    _rename_keys(function.control_ret, controls, names)
    function.signature.control_output[:] = controls.values()


def _rename_keys(table: Any, keys: Mapping[str, str], names: Mapping[str, str]) -> None:
    found = {keys[key]: _renamed(value, names) for key, value in table.items()}
    table.clear()
    table.update(found)


def _free(stem: str, counts: collections.Counter[str], taken: set[str]) -> str:
    """``stem`` and a number, as nothing else is named; it is then ``taken``."""
    while True:
        name = f"{stem}_{counts[stem]}" if counts[stem] else stem
        counts[stem] += 1
        if name not in taken:
            taken.add(name)
            return name


def _renamed(reference: str, names: Mapping[str, str]) -> str:
    """``node:output:0``, ``argument`` or ``^node``."""
    name, colon, rest = reference.removeprefix("^").partition(":")
    return "^" * reference.startswith("^") + names.get(name, name) + colon + rest


def _place(item: bytes, names: Mapping[str, str]) -> bytes:
    name = item.removeprefix(_PREFIX).decode()
    return _PREFIX + names.get(name, name).encode() if item.startswith(_PREFIX) else item
