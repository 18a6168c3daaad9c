"""Gives memory that is free within this process back to the system, which allocators keep for later otherwise.

What a large file takes to be opened is as large as its weights, several times over; glibc keeps blocks up to 32 MB of
it, in the arena of the thread that asked, where another thread does not find them.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import pathlib
from collections.abc import Callable

# Bytes of files from which it is worth the time: what is large is opened anew for each use, after the truth is told.
LARGE = 2**27


def give_back() -> None:
    """Collects what only refers to itself, and trims the heap where the system's C library can."""
    gc.collect()
    trim()


def trim() -> None:
    """Only the heap; nothing where the C library is another than glibc."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        _trim_of(ctypes.CDLL(None))(0)


def is_large(path: pathlib.Path) -> bool:
    """Whether the files at ``path``, a file or a folder, hold so much that their memory counts."""
    files = path.rglob("*") if path.is_dir() else (path,)
    return sum(item.stat().st_size for item in files if item.is_file()) >= LARGE


def _trim_of(library: ctypes.CDLL) -> Callable[[int], int]:
    function = library.malloc_trim
    function.argtypes, function.restype = [ctypes.c_size_t], ctypes.c_int
    return function
