"""Checkpoints of a job that runs a script: its directory, saved by rank 0 in a thread while the script runs.

As those of recipes: a store that is full or away costs the checkpoint, never the job.
"""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock, Thread

from modelyard.errors import DataLossError, ModelyardError, NotFoundError
from modelyard.jobs.training import Checkpoints as Cadence
from modelyard.train.checkpoint.artifacts import Site
from modelyard.train.control.messages import Saved, Unsaved
from modelyard.train.position import Position
from modelyard_worker.trainer.script.folder import ScriptFolder
from modelyard_worker.trainer.script.listing import Record, read
from modelyard_worker.trainer.script.snapshot import Snapshot, inodes, take
from modelyard_worker.trainer.script.storing import Files, Store

log = logging.getLogger(__name__)
EVERY_S = 60.0
"""Unless the job says when."""
EVERY_RATIO = 4.0
"""Likewise not before so many times as long as the last one took."""
MOST_REASON = 500


class ScriptKeeping:
    """Saves and restores, for one rank. All but `told` happens in the thread that runs the script."""

    def __init__(
        self, site: Site, folder: ScriptFolder, code: Path, cadence: Cadence, told: Callable[[Saved | Unsaved], None]
    ) -> None:
        """Nothing is saved yet.

        Args:
            site: where the store is.
            folder: of this rank's worker.
            code: the job's, as it was sent.
            cadence: how often, and how many are kept.
            told: hears, in any thread, of each checkpoint that is whole, and of those that could not be saved.
        """
        self._store = Store(site, code)
        self._links, self._restored = site.scratch / "links", site.scratch / "restored"
        self._folder = folder
        self._cadence = cadence
        self._told = told
        self._lock = Lock()
        self._last: Saved | None = None
        self._files: Files | None = None
        self._thread: Thread | None = None
        self._next_s = -math.inf
        self._heard = 0
        self._saved_inodes: dict[str, tuple[int, int, int]] | None = None

    @property
    def step(self) -> int:
        """The number of the last checkpoint that this rank knows of; 0: there is none."""
        with self._lock:
            return max(self._last.position.step if self._last else 0, self._heard)

    def hear(self, step: int) -> None:
        """Another rank has saved one of that number."""
        self._heard = step

    def enter(self, checkpoint: Saved | None) -> None:
        """The control process knows of that one as the last; what this rank has saved before counts no more."""
        with self._lock:
            known = self._last
            if checkpoint is None or checkpoint == known:
                return
            if known is not None and known.position.step > checkpoint.position.step:
                return
            self._last, self._files, self._saved_inodes = checkpoint, None, None
        if known is not None:
            self._told(checkpoint)  # in place of that

    @property
    def _is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def is_due(self) -> bool:
        """Whether one is to be saved: enough time has passed, none is being written, and something has changed."""
        if time.monotonic() < self._next_s or self._is_busy:
            return False
        return inodes(self._folder.shared) != self._saved_inodes

    def save(self, quiet_s: float = 0.0) -> None:
        """Begin to save the directory as it is now. Whoever begins another one meanwhile waits.

        What is older than the last checkpoint is not saved: a worker that was away has it.

        Args:
            quiet_s: files that have changed more recently count as they were in the checkpoint before.
        """
        self.settle()
        number = read(self._folder.record).number
        last = self._last
        if not number or (last is not None and number < last.position.offset):
            return
        position = Position((last.position.step if last else 0) + 1, 0, number)
        try:
            snapshot = take(self._folder.shared, self._links, quiet_s)
        except OSError as error:
            self._failed(position, error)
            self._pause(time.monotonic())
            return
        self._thread = Thread(target=self._save, args=(position, snapshot), name="checkpoint", daemon=True)
        self._thread.start()

    def settle(self) -> None:
        """Wait until none is being written."""
        if self._thread is not None:
            self._thread.join()

    def _save(self, position: Position, snapshot: Snapshot) -> None:
        begun_s = time.monotonic()
        try:
            before = self._before()
            name, files = self._stored(position, snapshot, before)
            is_last = not name or self._saved(position, name, files)
            if name:
                self._pause(begun_s)
            if is_last and not snapshot.unsettled:
                self._saved_inodes = {name: held.inode for name, held in snapshot.held.items()}
        except Exception as error:  # whatever it is, it costs the checkpoint alone
            self._failed(position, error)
            self._pause(begun_s)
        finally:
            shutil.rmtree(self._links, ignore_errors=True)

    def _stored(self, position: Position, snapshot: Snapshot, before: Files) -> tuple[str, Files]:
        """Store what was held; return its name, which is empty if it is as before, and what it has."""
        files, places = self._store.files(snapshot, before)
        try:
            return (self._store.save(position, files, places) if files != before else ""), files
        except DataLossError as error:
            log.info("a file was written into while it was stored", extra={"reason": error.message})
        files, places = self._store.files(snapshot, before)  # it counts as it was before
        return (self._store.save(position, files, places) if files != before else ""), files

    def _pause(self, begun_s: float) -> None:
        took_s = time.monotonic() - begun_s
        self._next_s = begun_s + (self._cadence.every_s or max(EVERY_S, EVERY_RATIO * took_s))

    def _before(self) -> Files:
        """What the last checkpoint has; where it is damaged, nothing that could be used again."""
        with self._lock:
            last, files = self._last, self._files
        if files is not None or last is None:
            return files or {}
        try:
            files = self._store.read(last.name)[1]
        except (DataLossError, NotFoundError) as error:
            log.error("checkpoint damaged", extra={"checkpoint": last.name, "reason": error.message})
            files = {}
        with self._lock:
            if self._last == last:
                self._files = files
        return files

    def _saved(self, position: Position, name: str, files: Files) -> bool:
        """Tell of it; return whether it is the last one: no other rank has saved one meanwhile."""
        with self._lock:
            if self._last is not None and self._last.position.step >= position.step:
                return False
            before = (self._last.name, *self._last.before) if self._last else ()
            kept = tuple(other for other in before if other != name)[: self._cadence.keep_last - 1]
            self._last = saved = Saved(position, name, kept)
            self._files = files
        log.info("checkpoint", extra={"checkpoint": name, "number": position.step, "files": len(files)})
        self._told(saved)
        return True

    def _failed(self, position: Position, error: Exception) -> None:
        reason = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        log.error("checkpoint not saved", extra={"number": position.step, "reason": reason[:MOST_REASON]})
        self._told(Unsaved(position.step, " ".join(reason.split())[:MOST_REASON]))

    def restores(self, number: int) -> bool:
        """Whether the last checkpoint is to be gone on from, not what workers have: that is older, or nothing.

        Args:
            number: of the latest of their records.
        """
        return self._last is not None and (not number or number < self._last.position.offset)

    def restore(self, number: int, check: Callable[[], None]) -> None:
        """Have this worker's directory be that of the last checkpoint, or if it is damaged of the newest that is not.

        Args:
            number: of the latest of the workers' records: what is older than that is not taken.
            check: called again and again; raises when this is to be broken off.

        Raises:
            DataLossError: none is whole, and no worker has anything.
            UnavailableError: no registry is there.
            OSError: the disk.
        """
        assert self._last is not None  # noqa: S101 (restores)
        names, reasons = (self._last.name, *self._last.before), list[str]()
        for name in names:
            try:
                position, files = self._store.read(name)
                if number and position.offset < number:
                    return
                self._store.fetch(files, self._restored, check)
            except (DataLossError, NotFoundError) as error:
                log.error("checkpoint damaged", extra={"checkpoint": name, "reason": error.message})
                reasons.append(error.message)
            else:
                self._resume(Saved(position, name, names[len(reasons) + 1 :], self._last.name if reasons else ""))
                return
        if not number:
            raise DataLossError(
                f"expected to go on from checkpoint {self._last.position.step}, but none of {len(names)} is whole: "
                f"{reasons[0]:.{MOST_REASON}}"
            )

    def _resume(self, found: Saved) -> None:
        self._folder.replace(self._restored, Record(max(1, found.position.offset)))
        log.info("resumed", extra={"checkpoint": found.name, "number": found.position.step})
        if found.instead:
            with self._lock:
                self._last, self._files = found, None
            self._told(found)
