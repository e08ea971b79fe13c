"""Checkpoints in the registry's artifact store: chunks, and a manifest whose digest is the checkpoint's name."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from modelyard.catalogue import File, Manifest
from modelyard.chunks import encoded
from modelyard.datasets.chunked import ChunkedDirectory
from modelyard.datasets.source import Directory
from modelyard.jobs.found import Stored
from modelyard.names import check_name
from modelyard.rpc.registry import BlockingSource
from modelyard.rpc.storing import Storing

HoldThese = Callable[[Sequence[str]], None]


@dataclass(frozen=True)
class Site:
    """How the artifact store is reached, and where files are meanwhile.

    Attributes:
        source: to read.
        storing: to write, in this loop.
        loop: an event loop that runs in another thread.
        scratch: a directory of this rank's own; what is in it may be removed.
        tenant: whose checkpoints these are.
        upload: how the names of their uploads begin; the rest is "-" and the draft.
    """

    source: BlockingSource
    storing: Storing
    loop: asyncio.AbstractEventLoop
    scratch: Path
    tenant: str
    upload: str = "checkpoint"


class ArtifactCheckpoints:
    """A CheckpointStore."""

    def __init__(self, site: Site, hold: HoldThese, names: Iterable[str] = ()) -> None:
        """Nothing is read yet.

        Args:
            site: where things are.
            hold: called with the digests of all manifests that count, the newest first, whenever these change: what is
                not held is collected a day after it was stored. Raises what `commit` and `remove` may raise.
            names: of the checkpoints that there are, the newest first: as they were held.
        """
        self._site = site
        self._hold = hold
        self._names = list(names)

    def place(self, draft: str) -> Path:
        """See CheckpointStore."""
        path = self._site.scratch / check_name("checkpoint", draft)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, draft: str, paths: Iterable[str]) -> tuple[File, ...]:
        """See CheckpointStore. The files in the scratch directory go as soon as they are stored."""
        return tuple(self._kept(draft, path) for path in paths)

    def _kept(self, draft: str, path: str) -> File:
        local = self._site.scratch / draft / path
        with local.open("rb") as content:
            size_bytes = local.stat().st_size
            stored = self._store(draft, content, size_bytes)
        local.unlink()
        return File(path, stored.size_bytes, stored.chunks)

    def commit(self, draft: str, manifest: Manifest) -> str:
        """See CheckpointStore."""
        content = encoded(manifest)
        self._store(draft, content, len(content))
        name = hashlib.sha256(content).hexdigest()
        self._change([name, *(other for other in self._names if other != name)])
        self.discard(draft)
        return name

    def open(self, name: str) -> Directory:
        """See CheckpointStore. What is read is fetched and compared then, in whole chunks.

        Raises UnavailableError, too, and so may reading: no registry is there.
        """
        source = self._site.source
        return ChunkedDirectory(source.manifest(check_name("checkpoint", name)), source.fetch, f"checkpoint {name}")

    def names(self) -> list[str]:
        """See CheckpointStore."""
        return list(self._names)

    def remove(self, name: str) -> None:
        """See CheckpointStore. Its chunks are collected later."""
        if name in self._names:
            self._change([other for other in self._names if other != name])

    def sweep(self) -> None:
        """See CheckpointStore."""
        for path in self._site.scratch.glob("*"):
            shutil.rmtree(path)

    def discard(self, draft: str) -> None:
        """See CheckpointStore."""
        shutil.rmtree(self._site.scratch / draft, ignore_errors=True)

    def _change(self, names: list[str]) -> None:
        self._hold(names)
        self._names = names

    def _store(self, draft: str, content: BinaryIO | bytes, size_bytes: int) -> Stored:
        site = self._site
        call = site.storing.store(content, size_bytes, tenant=site.tenant, upload=f"{site.upload}-{draft}")
        return asyncio.run_coroutine_threadsafe(call, site.loop).result()
