"""Files at fsspec URLs, as far as the server's settings allow: only below prefixes that its owner has named."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import TypeVar
from urllib.parse import unquote

import fsspec
from fsspec.implementations.local import LocalFileSystem

from modelyard.datasets.source import Directory, Source, exactly
from modelyard.errors import InvalidInputError, ModelyardError, NotFoundError, UnavailableError

_URL = re.compile(r"[a-z][a-z0-9+.-]*://[^\s]+", re.IGNORECASE)
T = TypeVar("T")


def check_allowed(url: str, allowed: Sequence[str]) -> None:
    """Return if a URL is one of the allowed prefixes, or below one: `s3://bucket/data` allows `s3://bucket/data/x`.

    Raises:
        InvalidInputError: it is not, or it chains file systems, or leads upwards.
    """
    if not allowed:
        raise InvalidInputError(f"{_shown(url)}: this server allows no URLs; upload the dataset instead")
    below = any(url == prefix or url.startswith(prefix.rstrip("/") + "/") for prefix in allowed)
    if not (below and _URL.fullmatch(url)) or "::" in url or ".." in re.split(r"[/\\]", unquote(url)):
        raise InvalidInputError(f"{_shown(url)}: expected a URL below {', '.join(allowed)}")


def _shown(url: str) -> str:
    """A URL as messages have it: without credentials and query."""
    return re.sub(r"//[^/@]*@", "//", url.partition("?")[0])[:300]


def open_url(url: str, allowed: Sequence[str]) -> Source | Directory:
    """The file or directory at a URL.

    Raises:
        InvalidInputError: the URL is not allowed, or its kind of store is not installed, or it cannot be read.
        NotFoundError: nothing is there.
        UnavailableError: the store does not answer.
    """
    check_allowed(url, allowed)
    name = _shown(url)
    # A redirect could lead anywhere, past what is allowed.
    options = {"allow_redirects": False} if url.lower().startswith("http") else {}
    fs, path = _asked(name, lambda: fsspec.core.url_to_fs(url, **options))
    if isinstance(fs, LocalFileSystem):
        _check_real(url, path, allowed)
    found = _asked(name, lambda: fs.info(path))
    if found["type"] == "directory":
        return RemoteDirectory(fs, path, name)
    return RemoteFile(fs, path, name, found["size"])


def _check_real(url: str, path: str, allowed: Sequence[str]) -> None:
    """A link in an allowed directory may lead out of it."""
    real = os.path.realpath(path)
    roots = [os.path.realpath(LocalFileSystem._strip_protocol(prefix)) for prefix in allowed if "://" in prefix]
    if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
        raise InvalidInputError(f"{_shown(url)}: expected a URL below {', '.join(allowed)}; it is a link out of them")


def _asked(name: str, ask: Callable[[], T]) -> T:
    """Ask a store; turn what it raises into ours."""
    try:
        return ask()
    except ModelyardError:
        raise
    except FileNotFoundError as error:
        raise NotFoundError(f"{name}: no such file") from error
    except (PermissionError, IsADirectoryError, NotADirectoryError, ImportError, ValueError) as error:
        raise InvalidInputError(f"{name}: cannot be read: {error}") from error
    except Exception as error:  # noqa: BLE001, RUF100 - every store has errors of its own
        raise UnavailableError(f"{name}: the store does not answer: {error}") from error


class RemoteFile:
    """A file of a store."""

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str, name: str, size_bytes: int | None) -> None:
        if size_bytes is None:
            raise InvalidInputError(f"{name}: the store does not tell its size, so it cannot be read by range")
        self._fs = fs
        self._path = path
        self.name = name
        self.size_bytes = int(size_bytes)

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        if not length:
            return b""
        data: bytes = _asked(self.name, lambda: self._fs.cat_file(self._path, start=offset, end=offset + length))
        return exactly(data, offset, length, self.name)


class RemoteDirectory:
    """A directory of a store."""

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str, name: str) -> None:
        self._fs = fs
        self._root = path.rstrip("/")
        self.name = name

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        found: list[str] = _asked(self.name, lambda: self._fs.find(self._root))
        return sorted(path[len(self._root) + 1 :] for path in found)

    def open(self, path: str) -> Source:
        """As Directory says."""
        full = f"{self._root}/{path}"
        if isinstance(self._fs, LocalFileSystem):
            self._check_within(path, full)
        return RemoteFile(self._fs, full, path, _asked(path, lambda: self._fs.info(full))["size"])

    def _check_within(self, path: str, full: str) -> None:
        if not os.path.realpath(full).startswith(os.path.realpath(self._root) + "/"):
            raise InvalidInputError(f"{path}: it is a link out of {self.name}")
