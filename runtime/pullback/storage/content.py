"""Bytes of a file at a place: of the promised size and with the promised SHA-256, or none at all."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from pullback.errors import BundleError, DamagedError
from pullback.manifest import FileSpec
from pullback.storage import Place

MAX_GRAPH_BYTES = 2**31 - 1  # protobuf's own limit
_BLOCK = 2**20

# https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_POINTER = b"version https://git-lfs.github.com/spec/v1"


def read(place: Place, file: FileSpec, limit: int = MAX_GRAPH_BYTES) -> bytes:
    """The whole content of ``file``, checked; raises ``BundleError``."""
    if file.size > limit:
        raise DamagedError(f"{place.where(file.path)}: {file.size} bytes; at most {limit} are read")
    return b"".join(blocks(place, file))


def check(place: Place, file: FileSpec) -> None:
    """Read ``file`` once without keeping it; raises ``BundleError`` when it is not what the manifest promised."""
    for _ in blocks(place, file):
        pass


def blocks(place: Place, file: FileSpec) -> Iterator[bytes]:
    """The content of ``file`` in pieces; raises ``BundleError`` at the end when it is not what was promised."""
    where = place.where(file.path)
    digest, size, start = hashlib.sha256(), 0, b""
    with _opened(place, file.path, promised=True) as stream, _readable(where):
        while size <= file.size and (block := stream.read(min(_BLOCK, file.size + 1 - size))):
            start = start or block[: len(_POINTER)]
            size += len(block)
            digest.update(block)
            yield block
    link = "" if place.is_plain(file.path) else "; a symbolic link leads out of the bundle to it"
    if size != file.size or digest.hexdigest() != file.sha256:
        refuse_pointer(start, where)
    if size != file.size:
        more = "more than " if size > file.size else ""
        raise DamagedError(
            f"{where}: {more}{min(size, file.size)} bytes, the manifest says {file.size}; it is damaged{link}"
        )
    if digest.hexdigest() != file.sha256:
        raise DamagedError(f"{where}: its SHA-256 is not the one in the manifest; it was changed or damaged{link}")


def read_limited(place: Place, relative: str, limit: int, named: bool = False) -> bytes:
    """The content of a file of at most ``limit`` bytes; raises ``BundleError``.

    Nothing is known of it; ``named``: the user named this very file, and it may be a link.
    """
    where = place.where(relative)
    with _opened(place, relative, promised=named) as stream, _readable(where):
        content = bytearray()
        while len(content) <= limit and (block := stream.read(min(_BLOCK, limit + 1 - len(content)))):
            content += block
    if len(content) > limit:
        raise DamagedError(f"{where}: larger than {limit} bytes; this is not a file of a bundle")
    refuse_pointer(bytes(content[: len(_POINTER)]), where)
    return bytes(content)


def described(place: Place, relative: str) -> FileSpec:
    """Size and SHA-256 of a file of which nothing is known; raises ``BundleError``."""
    where = place.where(relative)
    digest, size, start = hashlib.sha256(), 0, b""
    with _opened(place, relative, promised=False) as stream, _readable(where):
        while block := stream.read(_BLOCK):
            start = start or block[: len(_POINTER)]
            size += len(block)
            digest.update(block)
    refuse_pointer(start, where)
    return FileSpec(relative, digest.hexdigest(), size)


def refuse_pointer(start: bytes, where: str) -> None:
    """Raise ``BundleError`` where a file that starts so stands for another that was not downloaded."""
    if start.startswith(_POINTER):
        raise BundleError(f"{where}: a git-lfs pointer, not the file itself; run git lfs pull in its repository")


def _opened(place: Place, relative: str, promised: bool) -> contextlib.closing[BinaryIO]:
    return contextlib.closing(place.open(relative, promised))


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    """Whatever a stream raises is an error of the bundle: archives and networks have many of their own."""
    try:
        yield
    except BundleError:
        raise
    except Exception as error:
        raise BundleError(f"{where}: cannot be read ({error}); check its permissions") from error
