"""The workers of a script have the same files in its directory, as if that were on a shared disk.

torchrun leaves this to its user. Without it a script would find the snapshot that rank 0 has written on one worker
only, and with that worker it would be lost. So it is shared whenever scripts are started, and every few seconds while
they run: then only files that have not changed for a moment.
"""

from __future__ import annotations

import contextlib
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

import torch

from modelyard import codec
from modelyard.chunks import target_path
from modelyard.train.elastic.group import Group
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.listing import (
    Known,
    Listing,
    Record,
    known_as,
    listing,
    merged,
    new_digest,
    read,
    write,
)
from modelyard_worker.trainer.script.places import Place

PIECE_BYTES = 16 << 20
QUIET_S = 1.0
_FORMATION_BITS = 24
"""Numbers of records grow from one formation to the next, also over workers that know nothing of each other."""


class Sharing:
    """What a rank does for it, in one group."""

    def __init__(
        self,
        group: Group,
        folder: ScriptFolder,
        places: Sequence[Place],
        scratch: Path,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        """Be asked.

        Args:
            group: whose ranks share.
            folder: of this rank's worker.
            places: of the ranks, by their number in the group.
            scratch: a directory of this rank's own, on the same disk, for what is on its way.
            check: raises when this is to be broken off.
        """
        self._group = group
        self._folder = folder
        self._place = places[group.rank]
        self._scratch = scratch
        self._check = check
        self._owners = [rank for rank, place in enumerate(places) if place.local_rank == 0]
        """Who reads and writes for the ranks of their worker."""

    @property
    def _owns(self) -> bool:
        return self._group.rank in self._owners

    def looks_changed(self) -> bool:
        """Whether something seems to have changed on this worker that others lack. No file is read."""
        if not self._owns or self._place.group_world == 1:
            return False
        own = listing(self._folder.shared, read(self._folder.record), QUIET_S, lambda _: "")
        return bool(own.changed or own.removed)

    def share(self, quiet_s: float = 0.0) -> None:
        """Have the same files on all workers. All ranks of the group take part, and do nothing else with it.

        Args:
            quiet_s: what has changed more recently is left for another time.

        Raises:
            GroupLost: it was lost; what is there is as it was.
            OSError: the disk.
            Exception: what `check` raises; what is there is as it was.
        """
        own = listing(self._folder.shared, read(self._folder.record), quiet_s) if self._owns else Listing(Record(), {})
        told = [codec.decode(Listing, data) for data in gather(self._group, codec.encode(own))]
        listings = {rank: told[rank] for rank in self._owners}
        wanted = merged([*listings.values()])
        number = 1 + max(one.record.number for one in listings.values())
        number = max(number, self._group.number << _FORMATION_BITS)
        with tempfile.TemporaryDirectory(prefix="arriving-", dir=self._scratch) as arriving:
            for path, expected in wanted.items():
                self._pass(listings, path, expected, Path(arriving))
            self._group.sum(torch.zeros(1))  # all have all of it
            if self._owns:
                files = self._applied(Path(arriving), own, wanted)
                write(self._folder.record, Record(number, self._place.rank, files))
        self._group.sum(torch.zeros(1))  # nobody goes on before it stands on all workers

    def _pass(self, listings: Mapping[int, Listing], path: str, expected: str, arriving: Path) -> None:
        """Send a file to all if one lacks it; it is written below `arriving` where it is lacking."""
        rank = self._group.rank
        found = {r: one.files[path] for r, one in listings.items() if path in one.files}
        having = [r for r, known in found.items() if known.digest == expected]
        if len(having) == len(listings):
            return
        size_bytes = found[having[0]].size_bytes
        if rank == having[0]:
            self._send(target_path(self._folder.shared, path), size_bytes)
        elif self._owns and rank not in having:
            self._receive(having[0], target_path(arriving, path), size_bytes, expected)
        else:
            for _ in self._pieces(having[0], size_bytes):
                pass

    def _send(self, path: Path, size_bytes: int) -> None:
        with contextlib.ExitStack() as stack:
            source: IO[bytes] = io.BytesIO()
            with contextlib.suppress(FileNotFoundError):  # the script has removed it meanwhile: nobody takes the zeros
                source = stack.enter_context(path.open("rb"))
            for _ in self._pieces(self._group.rank, size_bytes, source):
                pass

    def _receive(self, owner: int, path: Path, size_bytes: int, expected: str) -> None:
        """Write a file, unless it has become another one while it was read: that comes another time."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = new_digest()
        with path.open("wb") as target:
            for piece in self._pieces(owner, size_bytes):
                found.update(piece)
                target.write(piece)
        if found.hexdigest() != expected:
            path.unlink()

    def _pieces(self, owner: int, size_bytes: int, source: IO[bytes] | None = None) -> Iterator[memoryview]:
        """Go through a file as one rank sends it, which alone has a source."""
        for begin in range(0, size_bytes, PIECE_BYTES):
            self._check()
            size = min(PIECE_BYTES, size_bytes - begin)
            data = source.read(size).ljust(size, b"\0") if source is not None else bytes(size)
            piece = torch.frombuffer(bytearray(data), dtype=torch.uint8)
            self._group.broadcast(piece, owner)
            yield piece.numpy().data

    def _applied(self, arriving: Path, own: Listing, wanted: Mapping[str, str]) -> dict[str, Known]:
        """Take what has arrived, and remove what is not wanted; return what of it is there."""
        files = {path: known for path, known in own.files.items() if path in wanted}
        for path in own.files.keys() - wanted.keys():
            with contextlib.suppress(FileNotFoundError, IsADirectoryError, NotADirectoryError):  # it is another one now
                (self._folder.shared / path).unlink()
        for path, expected in wanted.items():
            source = arriving / path
            if source.is_file():
                files[path] = known_as(source, expected)
                _move(source, self._folder.shared, path)
        return files


def _move(source: Path, directory: Path, path: str) -> None:
    """Put a file to its place below a directory, whatever the script has there."""
    target = directory / path
    for parent in reversed([directory / parent for parent in PurePosixPath(path).parents]):
        if parent != directory and (parent.is_symlink() or parent.is_file()):
            parent.unlink()
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.replace(target)


def gather(group: Group, data: bytes) -> list[bytes]:
    """Return what each rank gives, by rank. GroupLost: it was lost."""
    sizes = [int(size) for size in group.all_gather(torch.tensor([len(data)]))]
    padded = torch.zeros(max(sizes), dtype=torch.uint8)
    if data:
        padded[: len(data)] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    parts = group.all_gather(padded)
    return [part[:size].numpy().tobytes() for part, size in zip(parts, sizes, strict=True)]
