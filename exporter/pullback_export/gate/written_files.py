"""The files that were written, as functions from arrays to arrays: the SavedModel, and ONNX Runtime at every level."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
import tensorflow as tf
from pullback import onednn

from pullback_export.derivatives.plan import Function
from pullback_export.errors import ExportError
from pullback_export.gate.live_model import in_every_row
from pullback_export.gate.supervision.child import child
from pullback_export.gate.supervision.freed_memory import give_back, is_large, trim
from pullback_export.gate.supervision.limits import OverLimit, watched

Arrays = dict[str, np.ndarray[Any, Any]]
# Takes a sample, and whether it has all of the time that an evaluation may take.
Run = Callable[[Mapping[str, Any], bool], Arrays]
# What an artifact gave for one sample: the arrays, or the error that it raised, raised again.
Answer = Callable[[], Arrays]
LEVELS = {
    "off": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file that holds ``function``; ``stage`` names it in reports, ``opened()`` gives what runs it.

    ``endless`` are samples, by number, on which a form of the function was stopped: the others need not try. Of a
    ``large`` file the memory is given back to the system as soon as it can be.
    """

    stage: str
    function: Function
    opened: Callable[[], Run]
    endless: dict[int, OverLimit] = dataclasses.field(default_factory=dict)
    large: bool = False

    def answers(self, samples: Sequence[Mapping[str, Any]]) -> list[Answer]:
        """What it gives for each of the samples; the file is open only meanwhile, and its memory freed after.

        Raises what opening the file raises. That a sample is refused is an answer: the live model may not take it.
        """
        run = self.opened()
        if self.large:
            trim()
        found = [self._answer(run, sample, number) for number, sample in enumerate(samples)]
        del run
        if self.large:
            give_back()
        return found

    def fresh(self) -> Artifact:
        """The same for other samples, none of which it was stopped on."""
        return dataclasses.replace(self, endless={})

    def again(self, sample: Mapping[str, Any]) -> Arrays:
        """What it gives where it has all of the time."""
        return in_every_row(self.opened()(sample, True), self.function.shared, sample, self.function.whole)

    def _answer(self, run: Run, sample: Mapping[str, Any], number: int) -> Answer:
        if number in self.endless:
            return functools.partial(_raise, self.endless[number])
        try:
            arrays = in_every_row(run(sample, False), self.function.shared, sample, self.function.whole)
        except Exception as problem:  # whatever it is, it is raised where the answer is wanted
            if isinstance(problem, OverLimit):
                self.endless[number] = problem
            return functools.partial(_raise, problem)
        return lambda: arrays


def artifacts(functions: Sequence[Function], folder: pathlib.Path, formats: Sequence[str]) -> list[list[Artifact]]:
    """Every way to run each of the ``functions`` that was written to ``folder``."""
    saved_model = folder / "saved_model"
    large = "saved_model" in formats and is_large(saved_model)
    # What is large is in memory only while it runs.
    load = tf.saved_model.load if large else functools.cache(tf.saved_model.load)
    found = []
    for function in functions:
        forms = []
        endless: dict[int, OverLimit] = {}
        if "saved_model" in formats:
            here = functools.partial(_saved_model, load)
            opened = functools.partial(here if onednn.make_safe() else _in_child, saved_model, function)
            forms.append(Artifact("SavedModel", function, opened, endless, large))
        if "onnx" in formats:
            path = folder / f"{function.name}.onnx"
            for label, level in LEVELS.items():
                opened = functools.partial(_onnx_session, path, level)
                forms.append(Artifact(f"ONNX Runtime, optimisation {label}", function, opened, endless, is_large(path)))
        found.append(forms)
    return found


def _raise(problem: Exception) -> Arrays:
    raise problem


def _saved_model(load: Callable[[str], Any], folder: pathlib.Path, function: Function) -> Run:
    loaded = load(str(folder))
    signature = loaded.signatures[function.name]

    def run(inputs: Mapping[str, Any], whole: bool) -> Arrays:
        tensors = {spec.name: tf.constant(inputs[spec.name], spec.dtype) for spec in function.inputs}
        try:
            with watched(f"SavedModel {function.name}", whole):
                results = signature(**tensors)
        except tf.errors.OpError as problem:
            raise ExportError(
                f"the traced graph fails on a sample that the live model accepts: {problem}; give samples={{...}}"
            ) from problem
        return {name: results[name].numpy() for name in function.outputs}

    run.keep_alive = loaded  # type: ignore[attr-defined]  # the signature only holds its variables weakly
    return run


def _in_child(folder: pathlib.Path, function: Function) -> Run:
    """In a process that limits oneDNN's instructions: here its products would be wrong."""

    def run(inputs: Mapping[str, Any], whole: bool) -> Arrays:
        given = {spec.name: np.asarray(inputs[spec.name], spec.dtype.as_numpy_dtype) for spec in function.inputs}
        results = child()(folder.absolute(), function.name, given, whole)
        return {name: results[name] for name in function.outputs}

    return run


def _onnx_session(path: pathlib.Path, level: Any) -> Run:
    """Runs the file at one graph optimisation level, on half of the cores: the live model computes meanwhile."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # what a run took is free again for the live model
    options.intra_op_num_threads = max(1, (os.cpu_count() or 1) // 2)
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    taken = [item.name for item in session.get_inputs()]
    names = [item.name for item in session.get_outputs()]

    def run(inputs: Mapping[str, Any], whole: bool) -> Arrays:
        running = onnxruntime.RunOptions()
        with watched(str(path.name), whole, functools.partial(setattr, running, "terminate", True)):
            results = session.run(None, {name: inputs[name] for name in taken}, running)
        return dict(zip(names, results, strict=True))

    return run
