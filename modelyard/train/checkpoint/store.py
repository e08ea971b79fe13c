"""Where checkpoints are kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from modelyard.catalogue import File, Manifest
from modelyard.datasets.source import Directory


class CheckpointStore(Protocol):
    """Keeps checkpoints. A checkpoint is a manifest and its files; without the manifest it does not count.

    All methods block, and are called by one thread at a time. Each rank has a store of its own, which keeps in the same
    place as the others'.
    """

    def place(self, draft: str) -> Path:
        """Return the directory into which this rank writes its files of a checkpoint that is being saved.

        Args:
            draft: what it goes by until it is committed, the same on all ranks.

        Raises:
            OSError: the disk.
        """
        ...

    def keep(self, draft: str, paths: Iterable[str]) -> tuple[File, ...]:
        """Make files of this rank, on disk already, part of the store; return what they are.

        Raises:
            ModelyardError: the store cannot be reached, or is full.
            OSError: the disk.
        """
        ...

    def commit(self, draft: str, manifest: Manifest) -> str:
        """Have a checkpoint count, all files of which are kept; return the name by which it is found again.

        Only rank 0 does so. Killed before this returns, it counts or does not, but never in part.

        Raises:
            ModelyardError: the store cannot be reached, or is full.
            OSError: the disk.
        """
        ...

    def open(self, name: str) -> Directory:
        """Return the files of a checkpoint. What is read has been compared with its digests: now, or then.

        Raises:
            NotFoundError: there is none of that name.
            DataLossError: it is damaged; so may reading.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of the checkpoints that count, the newest first."""
        ...

    def remove(self, name: str) -> None:
        """Have a checkpoint count no more; it need not be there. Only rank 0 does so.

        Raises:
            OSError: the disk.
        """
        ...

    def sweep(self) -> None:
        """Remove what killed processes have left of drafts. Only rank 0 does so, before anything is saved.

        Raises:
            OSError: the disk.
        """
        ...

    def discard(self, draft: str) -> None:
        """Remove what this rank has of a draft that was not committed, or what is not needed once it was."""
        ...
