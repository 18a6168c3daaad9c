"""The files of a bundle folder: inside of it, of the promised size, with the promised SHA-256."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from pullback.errors import BundleError
from pullback.manifest import FileSpec

MAX_GRAPH_BYTES = 2**31 - 1  # protobuf's own limit
_BLOCK = 2**20


def read(root: Path, file: FileSpec, limit: int = MAX_GRAPH_BYTES) -> bytes:
    """The whole content of ``file``, checked; raises ``BundleError``."""
    if file.size > limit:
        raise BundleError(f"{root / file.path}: {file.size} bytes, at most {limit} are read")
    return b"".join(_blocks(root, file))


def check(root: Path, file: FileSpec) -> None:
    """Read ``file`` once without keeping it; raises ``BundleError`` when it is not what the manifest promised."""
    for _ in _blocks(root, file):
        pass


def read_limited(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; raises ``BundleError``."""
    with _open(path) as stream:
        content = stream.read(min(limit, os.fstat(stream.fileno()).st_size) + 1)
    if len(content) > limit:
        raise BundleError(f"{path}: larger than {limit} bytes; this is not a file of a bundle")
    return content


def digest(root: Path, relative: str) -> bytes:
    """SHA-256 of a file in ``root``; raises ``BundleError``."""
    with _open(resolve(root, relative)) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def resolve(root: Path, relative: str) -> Path:
    """``root / relative``; raises ``BundleError`` when a symbolic link leads out of ``root``."""
    path = root / relative
    try:
        target = path.resolve(strict=True)
    except FileNotFoundError as error:
        raise BundleError(f"{path}: missing; the bundle is incomplete, copy or export it again") from error
    except (OSError, RuntimeError) as error:
        raise BundleError(f"{path}: cannot be opened ({error})") from error
    if not target.is_relative_to(root.resolve()):
        raise BundleError(f"{path}: a symbolic link leads out of the bundle, to {target}")
    return path


def listing(root: Path, relative: str) -> set[str]:
    """POSIX paths, relative to ``root``, of everything that is no folder below ``root / relative``."""
    found = set()
    for folder, folders, files in os.walk(resolve(root, relative)):
        for name in [*files, *(name for name in folders if (Path(folder) / name).is_symlink())]:
            found.add((Path(folder) / name).relative_to(root).as_posix())
    return found


def _blocks(root: Path, file: FileSpec) -> Iterator[bytes]:
    path = resolve(root, file.path)
    digest, size = hashlib.sha256(), 0
    with _open(path) as stream:
        while size <= file.size and (block := stream.read(min(_BLOCK, file.size + 1 - size))):
            size += len(block)
            digest.update(block)
            yield block
    if size != file.size:
        more = "more than " if size > file.size else ""
        raise BundleError(f"{path}: {more}{min(size, file.size)} bytes, the manifest says {file.size}; it is damaged")
    if digest.hexdigest() != file.sha256:
        raise BundleError(f"{path}: its SHA-256 is not the one in the manifest; it was changed or damaged")


def _open(path: Path) -> BufferedReader:
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise BundleError(f"{path}: not a regular file")
        return open(path, "rb")
    except (OSError, ValueError) as error:
        if isinstance(error, BundleError):
            raise
        raise BundleError(f"{path}: cannot be read ({error})") from error
