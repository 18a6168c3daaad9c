"""Bundles at a URL that fsspec knows: s3://, gs://, hf://, https://, memory:// and others; folders and zip files."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any, BinaryIO, cast

from pullback.errors import BundleError, MissingDependencyError


def is_url(text: str) -> bool:
    """Whether ``text`` is a URL and not a path: ``memory://net.zip``, ``simplecache::s3://bucket/net.pullback``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)", text) is not None


class Remote:
    """The files below a URL. There are no links; what is missing or cannot be reached is a ``BundleError``."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self._files, self._root = _fsspec().core.url_to_fs(self.url)
        except MissingDependencyError:
            raise
        except ImportError as error:  # of the package for that kind of URL, which fsspec names
            raise MissingDependencyError(f"{url}: {error}") from error
        except Exception as error:
            raise BundleError(f"{url}: cannot be opened ({error}); check the URL and its credentials") from error

    @property
    def local(self) -> Path | None:
        """The path where the URL is one of this machine's own files: there links are a danger, see ``Folder``."""
        protocols = self._files.protocol
        names = (protocols,) if isinstance(protocols, str) else tuple(protocols)
        return Path(self._root) if {"file", "local"} & set(names) else None

    def is_file(self) -> bool:
        """Whether the URL is one file; raises ``BundleError``."""
        try:
            if not self._files.exists(self._root):
                raise BundleError(f"{self.url}: there is no such file or folder; check the URL")
            return bool(self._files.isfile(self._root))
        except BundleError:
            raise
        except Exception as error:  # each kind of storage has its own
            raise BundleError(
                f"{self.url}: cannot be reached ({error}); check the URL, its credentials and the network"
            ) from error

    def open(self, relative: str, promised: bool) -> BinaryIO:
        """A file; the URL itself where ``relative`` is empty."""
        try:
            return cast(BinaryIO, self._files.open(f"{self._root}/{relative}" if relative else self._root, "rb"))
        except FileNotFoundError as error:
            text = "missing; the bundle is incomplete, copy or export it again"
            raise BundleError(f"{self.where(relative)}: {text}") from error
        except Exception as error:
            raise BundleError(f"{self.where(relative)}: cannot be read ({error}); try again") from error

    def where(self, relative: str) -> str:
        """Its URL."""
        return f"{self.url}/{relative}" if relative else self.url

    def state(self) -> tuple[object, ...]:
        """Unknown."""
        return ()

    def listing(self, relative: str) -> set[str]:
        """As the storage lists it."""
        start = f"{self._root}/"
        try:
            return {str(path).removeprefix(start) for path in self._files.find(f"{self._root}/{relative}")}
        except Exception as error:
            raise BundleError(f"{self.where(relative)}: cannot be listed ({error}); check the credentials") from error

    def is_plain(self, relative: str) -> bool:
        """No other program finds the file by a path."""
        return False


@functools.cache
def _fsspec() -> Any:
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependencyError('a URL needs fsspec: pip install "pullback[remote]"') from error
    return fsspec
