"""What the exporter's commands are told in words, as :func:`pullback_export.export` takes it.

Each function raises :class:`ExportError` for a text that it cannot read, and says how to write it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import operator
import os
import pathlib
import re
import sys
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from pullback_export.errors import ExportError


def import_modules(modules: Sequence[str]) -> None:
    """Registers layers that Keras then finds by their names."""
    sys.path[:0] = [os.getcwd()] if modules else []
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as problem:
            raise ExportError(f"--import {module}: {problem}") from problem


def outputs(text: str | None) -> list[str] | dict[str, str] | None:
    """``energy,forces`` or ``energy=e,forces`` as :func:`export` takes it."""
    if text is None:
        return None
    pairs = [[part.strip() for part in item.split("=")] for item in text.split(",")]
    if any(len(pair) > 2 or not all(pair) for pair in pairs):
        raise ExportError(f"--outputs {text!r}: write NAME,NAME, or NAME=NEW for one that is to be called otherwise")
    names = [pair[0] for pair in pairs]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise ExportError(f"--outputs {text!r}: {repeated} is given twice")
    return {pair[0]: pair[-1] for pair in pairs} if any(len(pair) == 2 for pair in pairs) else names


def features(texts: Sequence[str]) -> dict[str, list[str]] | None:
    """``x=age,income`` as :func:`export` takes it."""
    found = {}
    for text in texts:
        name, equals, columns = text.partition("=")
        if not (name.strip() and equals and columns.strip()):
            raise ExportError(f"--features {text!r}: write NAME=COLUMN,COLUMN, such as x=age,income")
        found[name.strip()] = [column.strip() for column in columns.split(",")]
    return found or None


def batched(text: str | None) -> list[str] | dict[str, str] | None:
    """``x,t`` as names; ``u=functions,x=points`` as a dictionary."""
    items = text.split(",") if text else []
    if not any("=" in item for item in items):
        return items or None
    found = {}
    for item in items:
        name, sign, word = item.partition("=")
        if not sign:
            raise ExportError(f"--batched {text!r}: {item!r} is without a word; write u=functions,x=points")
        found[name.strip()] = word.strip()
    return found


def axes(texts: Sequence[str]) -> dict[str, dict[int, str]] | None:
    found: dict[str, dict[int, str]] = {}
    for item in (part.strip() for text in texts for part in text.split(",")):
        match = re.fullmatch(r"(\w+):(-?\d+)=(\w+)", item)
        if match is None:
            raise ExportError(f"--axes {item!r}: write INPUT:AXIS=NAME, such as positions:0=atoms,species:0=atoms")
        found.setdefault(match[1], {})[int(match[2])] = match[3]
    return found or None


def named_model(text: str) -> Any:
    """``MODULE:NAME`` or ``FILE.py:NAME`` as what it names; anything else is a path, which stays as it is."""
    where, _, name = text.rpartition(":")
    if os.path.exists(text) or not re.fullmatch(r"[A-Za-z_][\w.]*", name, re.ASCII):
        return text
    if where.endswith(".py"):
        module = _module_of(pathlib.Path(where))
    elif re.fullmatch(r"[A-Za-z_][\w.]*", where, re.ASCII):
        import_modules([where])
        module = sys.modules[where]
    else:
        return text
    try:
        return operator.attrgetter(name)(module)
    except AttributeError as problem:
        known = [key for key, item in vars(module).items() if callable(item) and not key.startswith("_")]
        own = [key for key in known if getattr(vars(module)[key], "__module__", None) == module.__name__]
        raise ExportError(f"{text}: {problem}; it has {', '.join(own or known) or 'no function'}") from problem


def _module_of(path: pathlib.Path) -> Any:
    """The file as a module, which finds others in its folder."""
    if not path.is_file():
        raise ExportError(f"{path}: there is no such file; write FILE.py:NAME, or MODULE:NAME of what can be imported")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except Exception as problem:
        sys.modules.pop(path.stem)
        raise ExportError(f"{path}: it cannot be imported: {type(problem).__name__}: {problem}") from problem
    return module


def inputs(texts: Sequence[str]) -> list[Any] | None:
    """Each ``--input``: ``x:float32[None,3]`` as a ``tf.TensorSpec``, a name alone as it stands."""
    return [_input(text) for text in texts] or None


def _input(text: str) -> Any:
    if re.fullmatch(r"[\w.-]+(#\d+)?", text):
        return text
    found = re.fullmatch(r"(\w+):(\w+)\[((?:\d+|\?|None|,|\s)*)\]", text)
    if found is None:
        raise ExportError(
            f"--input {text}: write NAME:DTYPE[SIZES], such as x:float32[None,3], or the name of an inner layer"
        )
    sizes = [item.strip() for item in found[3].split(",") if item.strip()]
    try:
        dtype = tf.as_dtype(found[2])
    except TypeError as problem:
        raise ExportError(f"--input {text}: unknown dtype {found[2]!r}") from problem
    try:
        shape = [None if size in ("?", "None") else int(size) for size in sizes]
    except ValueError as problem:
        raise ExportError(f"--input {text}: write a comma between sizes, such as x:float32[None,3]") from problem
    return tf.TensorSpec(shape, dtype, found[1])


def scaling(texts: Sequence[str]) -> dict[str, tuple[Any, Any]] | None:
    """``x=0.5,2`` and ``x=[0,1],[2,4]``: an offset and a scale, numbers or lists of them."""
    found = {}
    for text in texts:
        name, equals, pair = text.partition("=")
        try:
            offset, scale = ast.literal_eval(f"({pair})")
        except (SyntaxError, ValueError, TypeError) as problem:
            raise ExportError(
                f"--scaling {text!r}: write NAME=OFFSET,SCALE, such as x=0.5,2 or x=[0,1],[2,4]"
            ) from problem
        if not (name.strip() and equals):
            raise ExportError(f"--scaling {text!r}: write NAME=OFFSET,SCALE, such as x=0.5,2 or x=[0,1],[2,4]")
        found[name.strip()] = (offset, scale)
    return found or None


def tolerances(texts: Sequence[str]) -> float | dict[str, float] | None:
    """One number for all, or numbers by result."""
    named: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError as problem:
            raise ExportError(f"--tolerance {text}: {number!r} is not a number") from problem
        if not name and len(texts) == 1:
            return value
        if not name:
            raise ExportError(
                f"--tolerance {text}: one number for all results must be the only value; write RESULT=NUMBER for each"
            )
        named[name] = value
    return named or None


def samples(path: str | None) -> dict[str, Any] | None:
    if path is None:
        return None
    try:
        archive = np.load(path, allow_pickle=False)
        if isinstance(archive, np.ndarray):
            raise ExportError(f"{path}: one array without a name; write an npz file, np.savez(path, x=array)")
        with archive:
            return dict(archive)
    except FileNotFoundError as problem:
        raise ExportError(f"{path}: there is no such file; check the path") from problem
    except (OSError, ValueError, zipfile.BadZipFile) as problem:
        raise ExportError(
            f"{path}: not an npz file of arrays: {problem}; write one with np.savez(path, x=array)"
        ) from problem
