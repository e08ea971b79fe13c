"""A recipe's directory as an artifact: which files belong to it, how many and how large they may be, and its digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from modelyard.catalogue import File, Manifest
from modelyard.chunks import encoded, hashed
from modelyard.errors import InvalidInputError

_LEFT_OUT_DIRECTORIES = {
    *("__pycache__", ".git", ".hg", ".svn", ".venv", "venv", "node_modules", ".ipynb_checkpoints"),
    *(".mypy_cache", ".pytest_cache", ".ruff_cache", ".idea", ".vscode"),
}
_LEFT_OUT_SUFFIXES = {".pyc", ".pyo", ".swp"}
_LEFT_OUT_NAMES = {".DS_Store", "Thumbs.db"}


@dataclass(frozen=True)
class Bounds:
    """What a bundle may be: code, and no data or weights."""

    files: int = 1_000
    size_bytes: int = 64 << 20


DEFAULT_BOUNDS = Bounds()


def pack(directory: Path, bounds: Bounds = DEFAULT_BOUNDS) -> Manifest:
    """Return the manifest of a recipe's files, paths relative to its directory, sorted; caches are left out.

    Raises:
        InvalidInputError: there is no such directory or nothing in it, too much, or a link, device, pipe or socket.
    """
    if not directory.is_dir():
        raise InvalidInputError(f"{directory}: expected the directory of a recipe")
    paths = sorted(_within(directory, bounds), key=lambda path: path.relative_to(directory).as_posix())
    if not paths:
        raise InvalidInputError(f"{directory}: expected the files of a recipe, found none")
    return Manifest(tuple(_file(directory, path) for path in paths))


def code_digest(manifest: Manifest) -> str:
    """Return the sha256 of a bundle in hex: of its manifest as the registry keeps it, whose digest it has there."""
    return hashlib.sha256(encoded(manifest)).hexdigest()


def _file(directory: Path, path: Path) -> File:
    name = path.relative_to(directory).as_posix()
    with path.open("rb", buffering=0) as file:
        return hashed(name, file.read)


def _within(directory: Path, bounds: Bounds) -> Iterator[Path]:
    """Its files, as long as they are within bounds."""
    files = size_bytes = 0
    for path in _walk(directory):
        files, size_bytes = files + 1, size_bytes + path.stat().st_size
        if files > bounds.files or size_bytes > bounds.size_bytes:
            raise InvalidInputError(
                f"{directory}: expected a recipe of at most {bounds.files} files and {bounds.size_bytes} bytes, found "
                "more: data and weights do not belong there"
            )
        yield path


def _walk(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.iterdir()):
        if path.is_symlink():
            raise InvalidInputError(f"{path}: expected files and directories, found a link, which may lead elsewhere")
        if path.is_dir():
            if path.name not in _LEFT_OUT_DIRECTORIES:
                yield from _walk(path)
        elif not path.is_file():
            raise InvalidInputError(f"{path}: expected files and directories, found something else")
        elif path.suffix not in _LEFT_OUT_SUFFIXES and path.name not in _LEFT_OUT_NAMES:
            yield path
