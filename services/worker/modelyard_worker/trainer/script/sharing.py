"""The workers of a script have the same files in its directory, as if that were on a shared disk.

torchrun leaves this to its user. Without it a script would find the snapshot that rank 0 has written on one worker
only, and with that worker it would be lost. So it is shared whenever scripts are started, and every few seconds while
they run: then only files that have not changed for a moment.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import torch

from modelyard import codec
from modelyard.chunks import target_path
from modelyard.train.elastic.group import Group
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.listing import Listing, Record, arrived, listing, merged, read, write
from modelyard_worker.trainer.script.places import Place

PIECE_BYTES = 16 << 20
QUIET_S = 1.0


class Sharing:
    """What a rank does for it, in one group."""

    def __init__(self, group: Group, folder: ScriptFolder, places: Sequence[Place]) -> None:
        """`places`: of the ranks, by their number in the group."""
        self._group = group
        self._folder = folder
        self._place = places[group.rank]
        self._owns = self._place.local_rank == 0
        """Whether it writes for the ranks of its worker."""

    def looks_changed(self) -> bool:
        """Whether something has changed on this worker that others lack."""
        if not self._owns or self._place.group_world == 1:
            return False
        own = listing(self._folder.shared, read(self._folder.record), QUIET_S)
        return bool(own.changed or own.removed)

    def share(self, quiet_s: float = 0.0) -> None:
        """Have the same files on all workers. All ranks of the group take part, and do nothing else with it.

        Args:
            quiet_s: what has changed more recently is left for another time.

        Raises:
            GroupLost: it was lost; what is there is as it was.
            OSError: the disk.
        """
        own = listing(self._folder.shared, read(self._folder.record), quiet_s)
        listings = [codec.decode(Listing, data) for data in gather(self._group, codec.encode(own))]
        wanted = merged(listings)
        with tempfile.TemporaryDirectory(prefix="arriving-", dir=self._folder.shared.parent) as arriving:
            for path, digest in wanted.items():
                self._pass(listings, path, digest, Path(arriving))
            self._group.sum(torch.zeros(1))  # all have all of it
            if self._owns:
                self._apply(Path(arriving), own, wanted)
        self._group.sum(torch.zeros(1))  # nobody goes on before it stands on all workers

    def _pass(self, listings: Sequence[Listing], path: str, digest: str, arriving: Path) -> None:
        """Send a file to all if one lacks it; it is written below `arriving` where it is lacking."""
        rank = self._group.rank
        found = {r: one.files[path] for r, one in enumerate(listings) if path in one.files}
        having = [r for r, known in found.items() if known.digest == digest]
        if len(having) == len(listings):
            return
        with contextlib.ExitStack() as stack:
            source: IO[bytes] | None = None
            target: IO[bytes] | None = None
            if rank == having[0]:
                source = stack.enter_context(target_path(self._folder.shared, path).open("rb"))
            elif self._owns and rank not in having:
                written = target_path(arriving, path)
                written.parent.mkdir(parents=True, exist_ok=True)
                target = stack.enter_context(written.open("wb"))
            self._broadcast(having[0], found[having[0]].size_bytes, source, target)

    def _broadcast(self, owner: int, size_bytes: int, source: IO[bytes] | None, target: IO[bytes] | None) -> None:
        for begin in range(0, size_bytes, PIECE_BYTES):
            size = min(PIECE_BYTES, size_bytes - begin)
            data = source.read(size).ljust(size, b"\0") if source is not None else bytes(size)
            piece = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            self._group.broadcast(piece, owner)
            if target is not None:
                target.write(piece.numpy().data)

    def _apply(self, arriving: Path, own: Listing, wanted: dict[str, str]) -> None:
        shared = self._folder.shared
        for path in own.files.keys() - wanted.keys():
            (shared / path).unlink(missing_ok=True)
        for source in [path for path in arriving.rglob("*") if path.is_file()]:
            target = shared / source.relative_to(arriving)
            if target.is_dir():
                shutil.rmtree(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
        write(self._folder.record, Record(self._group.number, self._place.rank, arrived(own, wanted, shared)))


def gather(group: Group, data: bytes) -> list[bytes]:
    """Return what each rank gives, by rank. GroupLost: it was lost."""
    sizes = [int(size) for size in group.all_gather(torch.tensor([len(data)]))]
    padded = torch.zeros(max(sizes), dtype=torch.uint8)
    if data:
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    parts = group.all_gather(padded)
    return [part[:size].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]
