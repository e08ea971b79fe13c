"""Checkpoints in a directory that all ranks see: of one machine, or shared by several.

A checkpoint is a directory of its own, named by its draft, whose names sort as the steps do. It counts from the moment
its manifest is there, which is written last and renamed into place. What is removed is renamed first, to a name that
begins with a dot: who still writes to it fails, and nobody takes it for a checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from modelyard import codec
from modelyard.catalogue import File, Manifest
from modelyard.chunks import encoded, hashed, is_whole, target_path
from modelyard.datasets.source import Directory, LocalDirectory
from modelyard.errors import DataLossError, NotFoundError
from modelyard.names import check_name
from modelyard.train.checkpoint import durable

MANIFEST = "manifest.json"


class DirectoryCheckpoints:
    """A CheckpointStore."""

    def __init__(self, root: Path) -> None:
        """Create the directory, if it is not there. Raises OSError."""
        root.mkdir(parents=True, exist_ok=True)
        self._root = root

    def place(self, draft: str) -> Path:
        """See CheckpointStore."""
        path = self._root / check_name("checkpoint", draft)
        path.mkdir(exist_ok=True)
        durable.sync(self._root)
        return path

    def keep(self, draft: str, paths: Iterable[str]) -> tuple[File, ...]:
        """See CheckpointStore."""
        return tuple(_hashed(self._root / draft, path) for path in paths)

    def commit(self, draft: str, manifest: Manifest) -> str:
        """See CheckpointStore."""
        durable.sync(self._root / draft)
        durable.write(self._root / draft / MANIFEST, encoded(manifest))
        return draft

    def open(self, name: str) -> Directory:
        """See CheckpointStore. All of it is compared now."""
        path = self._root / check_name("checkpoint", name)
        try:
            manifest = codec.decode(Manifest, (path / MANIFEST).read_bytes())
        except FileNotFoundError:
            raise NotFoundError(f"checkpoint {name!r}: there is none in {self._root}") from None
        except codec.MalformedError as error:
            raise DataLossError(f"checkpoint {name}: {MANIFEST}: {str(error)[:200]}") from error
        for file in manifest.files:
            if not is_whole(target_path(path, file.path), file, manifest.chunk_size_bytes):
                raise DataLossError(f"checkpoint {name}: {file.path}: expected what its digests say")
        return LocalDirectory(path)

    def names(self) -> list[str]:
        """See CheckpointStore."""
        return sorted((path.parent.name for path in self._root.glob(f"[!.]*/{MANIFEST}")), reverse=True)

    def remove(self, name: str) -> None:
        """See CheckpointStore."""
        path = self._root / check_name("checkpoint", name)
        if path.is_dir():
            self._remove(path)

    def sweep(self) -> None:
        """See CheckpointStore."""
        for path in sorted(self._root.iterdir()):
            if path.is_dir() and (path.name.startswith(".") or not (path / MANIFEST).exists()):
                self._remove(path)

    def discard(self, draft: str) -> None:
        """See CheckpointStore."""
        path = self._root / draft
        if not (path / MANIFEST).exists():
            with contextlib.suppress(FileNotFoundError):  # another rank has
                self._remove(path)

    def _remove(self, path: Path) -> None:
        removed = self._root / f".{path.name.lstrip('.')}"
        if path != removed:
            shutil.rmtree(removed, ignore_errors=True)
            path.rename(removed)
        shutil.rmtree(removed, ignore_errors=True)  # what is left goes with the next sweep


def _hashed(root: Path, path: str) -> File:
    descriptor = os.open(root / path, os.O_RDONLY)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return hashed(path, file.read)
