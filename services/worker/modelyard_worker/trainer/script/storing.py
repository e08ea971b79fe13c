"""A script's directory in the artifact store: a checkpoint of its job.

record.json    Origin
files/...      what is in the directory, but for what is as the job's code has it
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from modelyard import codec
from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.chunks import chunks_of, encoded, hashed, target_path
from modelyard.errors import DataLossError, InvalidInputError
from modelyard.jobs.checkpoints import STEP_DIGITS
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.position import Position
from modelyard_worker.trainer.script.snapshot import Held, Snapshot

RECORD = "record.json"
FILES = "files/"
CODE, OUTPUT = "code", "output"
"""What a script's directory consists of (folder)."""

Files = dict[str, File]
"""What the store has of each file of a directory, by its name there."""


@dataclass(frozen=True)
class Origin:
    """Where a checkpoint comes from.

    Attributes:
        job: whose it is; in others its offset says nothing.
        position: `step` counts the checkpoints of a job, `offset` is the number of the listing.Record.
    """

    job: str
    position: Position


class Store:
    """Writes and reads checkpoints of one job. Not for several threads at once."""

    def __init__(self, site: Site, code: Path) -> None:
        """`code`: the directory of the job's code, as it was sent."""
        self._site = site
        self._code = code
        self._run = uuid.uuid4().hex[:12]
        self._original: Files = {}
        self._hashed: dict[str, tuple[Held, File]] = {}

    def files(self, snapshot: Snapshot, before: Mapping[str, File]) -> tuple[Files, dict[str, Path]]:
        """Hash what was held, unless that was done.

        Args:
            snapshot: of the directory.
            before: what the checkpoint before has: for files that are being written, which count as they were then.

        Returns:
            What a checkpoint has; and where these files are now, but for those of before.

        Raises:
            OSError: the disk.
        """
        found = {name: file for name, file in before.items() if name in snapshot.unsettled}
        places: dict[str, Path] = {}
        for name, held in snapshot.held.items():
            file = self._hash(name, held)
            if not held.is_unchanged:
                found |= {name: before[name]} if name in before else {}
            elif file.chunks != self._as_sent(name):
                found[name], places[name] = file, held.path
        self._hashed = {name: entry for name, entry in self._hashed.items() if name in snapshot.held}
        return found, places

    def _hash(self, name: str, held: Held) -> File:
        known = self._hashed.get(name)
        if known is not None and known[0].inode == held.inode:
            return known[1]
        with held.path.open("rb", buffering=0) as content:
            file = hashed(name, content.read)
        if held.is_unchanged:
            self._hashed[name] = (held, file)
        return file

    def _as_sent(self, name: str) -> tuple[str, ...] | None:
        """The chunks of a file of the code; None: it is none."""
        top, _, rest = name.partition("/")
        path = self._code / rest
        if top != CODE or not path.is_file():
            return None
        if name not in self._original:
            with path.open("rb", buffering=0) as content:
                self._original[name] = hashed(name, content.read)
        return self._original[name].chunks

    def save(self, position: Position, files: Mapping[str, File], places: Mapping[str, Path]) -> str:
        """Store a checkpoint; return its name. Killed before, it is not there; what was stored of it is collected.

        Raises:
            UnavailableError, ExhaustedError: the store is away, or full.
            DataLossError: what should be in the store already is not.
            InvalidInputError: there are too many files.
            OSError: the disk.
        """
        upload = f"{self._site.upload}-{position.step:0{STEP_DIGITS}d}-{self._run}"
        record = codec.encode(Origin(self._site.upload, position))
        manifest = encoded(_manifest(record, files))
        if len(manifest) > CHUNK_SIZE_BYTES:
            raise InvalidInputError(f"a script's directory: {len(files)} files are more than a checkpoint can have")
        self._store_files([(file, places.get(name)) for name, file in files.items()], upload)
        for content in (record, manifest):
            self._store(content, upload)
        return hashlib.sha256(manifest).hexdigest()

    def _store_files(self, files: list[tuple[File, Path | None]], upload: str) -> None:
        site = self._site
        call = site.storing.store_files(files, tenant=site.tenant, upload=upload)
        asyncio.run_coroutine_threadsafe(call, site.loop).result()

    def _store(self, content: bytes, upload: str) -> None:
        site = self._site
        call = site.storing.store(content, len(content), tenant=site.tenant, upload=upload)
        asyncio.run_coroutine_threadsafe(call, site.loop).result()

    def read(self, name: str) -> tuple[Position, Files]:
        """Return what a checkpoint has.

        Raises:
            NotFoundError: there is none of that name.
            DataLossError: it is damaged.
            UnavailableError: no registry is there.
        """
        files = {file.path: file for file in self._site.source.manifest(name).files}
        try:
            record = b"".join(self._site.source.fetch(chunk).result() for chunk in chunks_of(files[RECORD]))
            origin = codec.decode(Origin, record)
        except (KeyError, codec.MalformedError) as error:
            raise DataLossError(f"checkpoint {name}: expected one of a script: {error}") from error
        below = {path.removeprefix(FILES): file for path, file in files.items() if path.startswith(FILES)}
        found = origin.position if origin.job == self._site.upload else replace(origin.position, offset=0)
        return found, {name: replace(file, path=name) for name, file in below.items()}

    def fetch(self, files: Mapping[str, File], directory: Path, check: Callable[[], None]) -> None:
        """Make a directory as it was: with the job's code, and these files.

        Args:
            files: of a checkpoint.
            directory: made anew.
            check: called again and again; raises when this is to be broken off.

        Raises:
            DataLossError: a file is damaged, or gone.
            UnavailableError: no registry is there.
            OSError: the disk.
        """
        shutil.rmtree(directory, ignore_errors=True)
        shutil.copytree(self._code, directory / CODE, copy_function=shutil.copyfile)
        (directory / OUTPUT).mkdir()
        for name, file in files.items():
            path = target_path(directory, name)
            _make_way(directory, path)
            with path.open("wb") as out:
                for chunk in chunks_of(file):
                    check()
                    out.write(self._site.source.fetch(chunk).result())


def _manifest(record: bytes, files: Mapping[str, File]) -> Manifest:
    said = File(RECORD, len(record), (hashlib.sha256(record).hexdigest(),))
    return Manifest((said, *(replace(file, path=FILES + name) for name, file in files.items())))


def _make_way(directory: Path, path: Path) -> None:
    """Make the directories of a file; what another job's code has there gives way."""
    for parent in reversed(path.relative_to(directory).parents):
        if (directory / parent).is_file():
            (directory / parent).unlink()
    if path.is_dir():
        shutil.rmtree(path)
    path.parent.mkdir(parents=True, exist_ok=True)
