"""Files at URLs, as far as the server's settings allow: only below prefixes that its owner has named.

http and https are read by ourselves (web.py); everything else is fsspec's: s3 needs s3fs, file and memory nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem

from modelyard.datasets.allowed import check_allowed, refused, shown
from modelyard.datasets.source import Directory, Source, exactly
from modelyard.datasets.web import WebFile
from modelyard.errors import InvalidInputError, ModelyardError, NotFoundError, UnavailableError

TIMEOUTS = {"s3": {"config_kwargs": {"connect_timeout": 10, "read_timeout": 20, "retries": {"max_attempts": 1}}}}
"""s3fs repeats by itself what has failed, five times."""
_VERSIONS = ("ETag", "etag", "mtime", "LastModified", "last_modified", "updated", "created")
"""What stores call that by which a file's content is known, the best first."""
Info = Mapping[str, Any]
T = TypeVar("T")


def open_url(url: str, allowed: Sequence[str], stamp: str = "") -> Source | Directory:
    """The file or directory at a URL.

    Args:
        url: where it is.
        allowed: prefixes, as `check_allowed` has them.
        stamp: what `stamp_of` said when it was opened before; empty: that is not known.

    Raises:
        InvalidInputError: the URL is not allowed, or its kind of store is not installed, or it cannot be read, or what
            is there has changed since.
        NotFoundError: nothing is there.
        UnavailableError: the store does not answer.
    """
    check_allowed(url, allowed)
    content = WebFile(url) if url.lower().startswith(("http://", "https://")) else _opened(url, allowed)
    if stamp and content.stamp != stamp:
        raise InvalidInputError(
            f"{content.name}: has changed since its rows were counted: expected {stamp}, got {content.stamp}"
        )
    return content


def stamp_of(content: Source | Directory) -> str:
    """By what a file or directory at a URL is recognised: size, and etag or time of change; else empty."""
    return content.stamp if isinstance(content, WebFile | RemoteFile | RemoteDirectory) else ""


def _opened(url: str, allowed: Sequence[str]) -> RemoteFile | RemoteDirectory:
    name = shown(url)
    options = TIMEOUTS.get(url.partition("://")[0].lower(), {})
    fs, path = _asked(name, lambda: fsspec.core.url_to_fs(url, use_listings_cache=False, **options))
    if isinstance(fs, LocalFileSystem):
        _check_real(url, path, allowed)
    found = _asked(name, lambda: fs.info(path))
    if found["type"] == "directory":
        return RemoteDirectory(fs, path, name)
    return RemoteFile(fs, path, name, found)


def _check_real(url: str, path: str, allowed: Sequence[str]) -> None:
    """A link in an allowed directory may lead out of it."""
    real = os.path.realpath(path)
    roots = [os.path.realpath(LocalFileSystem._strip_protocol(prefix)) for prefix in allowed if "://" in prefix]
    if not any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
        raise refused(url, allowed, "; it is a link out of them")


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
    """A file of a store.

    Attributes:
        stamp: its size, and etag or time of change.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str, name: str, found: Info) -> None:
        """`found`: what the store says of it.

        Raises:
            InvalidInputError: it is no file, or cannot be read by range.
        """
        if found["type"] != "file":
            raise InvalidInputError(f"{name}: expected a file or directory, got something else")
        if found["size"] is None:
            raise InvalidInputError(f"{name}: the store does not tell its size, so it cannot be read by range")
        self._fs = fs
        self._path = path
        self.name = name
        self.size_bytes = int(found["size"])
        self.stamp = _stamp(found)

    def read(self, offset: int, length: int) -> bytes:
        """As Source says."""
        if not length:
            return b""
        data: bytes = _asked(self.name, lambda: self._fs.cat_file(self._path, start=offset, end=offset + length))
        return exactly(data, offset, length, self.name)


class RemoteDirectory:
    """A directory of a store, listed once.

    Attributes:
        stamp: a digest of its files' paths and stamps.
    """

    def __init__(self, fs: fsspec.AbstractFileSystem, path: str, name: str) -> None:
        self._fs = fs
        self._root = path.rstrip("/")
        self.name = name
        found: dict[str, Info] = _asked(name, lambda: fs.find(self._root, detail=True))
        self._files = {full[len(self._root) + 1 :]: info for full, info in sorted(found.items())}
        lines = "".join(f"{path}\0{_stamp(info)}\n" for path, info in self._files.items())
        digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
        self.stamp = f"{len(self._files)} files {digest[:32]}"

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        return list(self._files)

    def open(self, path: str) -> Source:
        """As Directory says."""
        if path not in self._files:
            raise NotFoundError(f"{self.name}: no file {path!r}")
        full = f"{self._root}/{path}"
        if isinstance(self._fs, LocalFileSystem):
            self._check_within(path, full)
        return RemoteFile(self._fs, full, path, self._files[path])

    def _check_within(self, path: str, full: str) -> None:
        if not os.path.realpath(full).startswith(os.path.realpath(self._root) + "/"):
            raise InvalidInputError(f"{path}: it is a link out of {self.name}")


def _stamp(found: Info) -> str:
    version = next((found[name] for name in _VERSIONS if found.get(name)), "")
    return f"{found['size']} {version}"[:300].rstrip()
