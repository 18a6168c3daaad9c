"""What TensorFlow, Keras, ONNX or the model itself raise while it is exported, as one clear :class:`ExportError`."""

from __future__ import annotations

import contextlib
import functools
import pathlib
import re
import signal
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from typing import ParamSpec, TypeVar

import pullback
from pullback.errors import PullbackError

from pullback_export.errors import ExportError

P = ParamSpec("P")
R = TypeVar("R")

_OURS = (str(pathlib.Path(__file__).parent), str(pathlib.Path(pullback.__file__).parent))
_LIBRARY = re.compile(r"site-packages|dist-packages|/lib/python3|__autograph_generated_file|^<")
_LONGEST = 600


def as_export_errors(function: Callable[P, R]) -> Callable[P, R]:
    """``function``, of which any failure that is not an error of ours is an :class:`ExportError` with that cause.

    Interrupts, and errors of the file system and of memory, stay what they are. A failure in our own code says that it
    is ours, and asks for a report.
    """

    @functools.wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        with remembered_interrupts() as interrupts:
            try:
                return function(*args, **kwargs)
            except Exception as problem:
                if interrupts.heard:
                    raise KeyboardInterrupt from problem
                if isinstance(problem, PullbackError | OSError | MemoryError):
                    raise
                raise ExportError(explanation(problem)) from problem

    return run


class RememberingHandler:
    """Python's own handler of Ctrl-C, which knows that it was called.

    Libraries swallow a ``KeyboardInterrupt``, in a bare ``except:`` or in a callback, and fail later of something else.
    """

    def __init__(self) -> None:
        self.heard = False

    def __call__(self, number: int, frame: types.FrameType | None) -> None:
        self.heard = True
        signal.default_int_handler(number, frame)


@contextlib.contextmanager
def remembered_interrupts() -> Iterator[RememberingHandler]:
    """Knows of each Ctrl-C while this lasts, in the main thread and where no other handler is installed."""
    handler = RememberingHandler()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is not signal.default_int_handler:
        yield before if isinstance(before, RememberingHandler) else handler
        return
    signal.signal(signal.SIGINT, handler)
    try:
        yield handler
    finally:
        signal.signal(signal.SIGINT, before)


def explanation(problem: Exception) -> str:
    """What happened, where in the user's model as far as that is known, and what to do, on one line."""
    frames = traceback.extract_tb(problem.__traceback__)
    said = f"{type(problem).__name__}: {one_line(str(problem))}"
    innermost = frames[-1] if frames else None
    if innermost is not None and innermost.filename.startswith(_OURS):
        at = "/".join(pathlib.Path(innermost.filename).parts[-2:])
        return (
            f"this is a bug of Pullback, in {at}:{innermost.lineno}: {said}. Please report it with the model, or the"
            " part of it that still shows it (the command line gives the traceback with --debug)"
        )
    place, advice = _place(frames, str(problem)), "".join(f". {note}" for note in getattr(problem, "__notes__", ()))
    return f"the model cannot be exported{f', {place}' if place else ''}: {said}{advice}. Nothing was written"


def one_line(text: str) -> str:
    """The message without colour codes, without what Keras and AutoGraph write around it, cut where it is long."""
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    text = text.split("Arguments received by")[0]
    if text.lstrip().startswith("in user code:"):
        text = re.split(r'\n\s*File "[^\n]*\n', text)[-1].split("\n", 1)[-1]
    text = re.split(r"\nDetected at node|\n\nOriginal stack trace|\nStack trace for op", text)[0]
    words = " ".join(text.split()).rstrip(". ")
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]} ..."


def _place(frames: traceback.StackSummary, text: str) -> str:
    """The last line of the user's own code, or the operator that TensorFlow names."""
    lines = [(frame.filename, frame.lineno, frame.name) for frame in frames]
    quoted = [(file, int(line), name) for file, line, name in re.findall(r'File "([^"]+)", line (\d+), in (\S+)', text)]
    own = [item for item in [*lines, *quoted] if not _LIBRARY.search(item[0]) and not item[0].startswith(_OURS)]
    if own:
        file, number, name = own[-1]
        return f"at {file}:{number} in {name}"
    found = [frame.name for frame in frames if "__autograph_generated_file" in frame.filename]
    function = f"in the function {found[-1].removeprefix('tf__')}" if found else ""
    node = re.search(r"\{\{node ([^}]+)\}\}", text) or re.search(r"when calling ([\w.]+)", text)
    return ", ".join(item for item in (function, f"in {node[1]}" if node else "") if item)
