"""Saving while training goes on: the state is copied, then written by a thread.

In a thread and not in a process of its own, which torch.distributed.checkpoint offers too: bench/train/checkpoint.py
compares them.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from torch.distributed import ProcessGroup
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.state_dict_saver import async_save

from modelyard.catalogue import File, Manifest
from modelyard.jobs.checkpoints import STEP_DIGITS
from modelyard.train.checkpoint import durable
from modelyard.train.checkpoint import record as records
from modelyard.train.checkpoint.ranks import Ranks, expect_no_group
from modelyard.train.checkpoint.record import RECORD, Record
from modelyard.train.checkpoint.store import CheckpointStore
from modelyard.train.checkpoint.structure import State, Tensors, take_apart
from modelyard.train.position import Position

log = logging.getLogger(__name__)

OnSaved = Callable[[Position, str], None]
OnFailed = Callable[[Position, Exception], None]


@dataclass(frozen=True)
class _Draft:
    name: str
    path: Path
    record: Record
    written: Future[object]
    saved: Future[str]


class Checkpoints:
    """Saves the checkpoints of a run, one at a time; `close` it in the end. Used by the thread that trains."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        group: ProcessGroup | None = None,
        keep_last: int = 3,
        on_saved: OnSaved = lambda position, name: None,
        on_failed: OnFailed = lambda position, error: None,
    ) -> None:
        """Remove what killed runs have left of their drafts; with a group, all ranks do this together.

        Args:
            store: this rank's.
            group: of the ranks that share the state, of gloo, used for nothing else: its operations are of another
                thread. None: this process has all of it.
            keep_last: so many of the newest are kept.
            on_saved: called by the thread that writes, on rank 0, with each checkpoint that counts.
            on_failed: called by that thread, on every rank, with each that was begun and will never count.
        """
        self._store = store
        self._group = group
        self._ranks = Ranks(group)
        self._keep_last = keep_last
        self._on_saved = on_saved
        self._on_failed = on_failed
        self._run = self._ranks.from_first(lambda: uuid.uuid4().hex[:12])
        self._stager = DefaultStager(_staging())
        self._count = 0
        self._last: Future[str] | None = None
        self._names = self._ranks.from_first(self._swept)
        self._drafts: queue.SimpleQueue[_Draft | None] = queue.SimpleQueue()
        # No thread of a pool: the process waits for those when it ends, and this one may wait for a rank that is gone.
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether one is being written: `save` would wait for it."""
        return self._last is not None and not self._last.done()

    def save(self, state: State, position: Position) -> Future[str]:
        """Begin to save a state; return when it is copied and may change again. All ranks of the group do so.

        Waits until the one before is written, whether or not that succeeded.

        Args:
            state: with a group, each rank's: DTensors as they are, and whatever is equal on all ranks.
            position: of the run.

        Returns:
            The name by which it is loaded, once it counts. Its errors: those of CheckpointStore, OSError, and
            torch.distributed.checkpoint.CheckpointException; they are also written to the log.

        Raises:
            InvalidInputError: something cannot be saved.
            OSError: the disk.
        """
        self.settle()
        tensors, structure = take_apart(state)
        record = Record(position, structure, self._ranks.world)
        self._count += 1
        name = f"{position.step:0{STEP_DIGITS}d}-{self._run}-{self._count}"
        path = self._store.place(name)
        draft = _Draft(name, path, record, self._write(path, tensors), Future())
        self._last = draft.saved
        self._drafts.put(draft)
        return draft.saved

    def settle(self) -> None:
        """Wait until nothing is being written."""
        if self._last is not None:
            self._last.exception()

    def close(self) -> None:
        """Wait until nothing is being written, and let go of what is kept for it."""
        self.settle()
        self._drafts.put(None)
        self._thread.join()
        self._stager.close()

    def _write(self, path: Path, tensors: Tensors) -> Future[object]:
        """Copy the tensors and begin to write them."""
        if self._group is None:
            expect_no_group()
        written = async_save(
            tensors,
            storage_writer=FileSystemWriter(path, overwrite=False),
            process_group=self._group,
            async_stager=self._stager,
            no_dist=self._group is None,
        )
        # What else it may return comes of stagers that stage in a thread.
        return cast("Future[object]", written)

    def _work(self) -> None:
        while draft := self._drafts.get():
            try:
                name = self._finish(draft)
            except Exception as error:
                log.error(
                    "checkpoint not saved", extra={"step": draft.record.position.step, "reason": str(error)[:500]}
                )
                self._store.discard(draft.name)
                self._on_failed(draft.record.position, error)
                draft.saved.set_exception(error)
            else:
                self._store.discard(draft.name)
                draft.saved.set_result(name)

    def _finish(self, draft: _Draft) -> str:
        """Have a draft count once all ranks have written and kept their parts; return its name."""
        draft.written.result()
        parts = self._ranks.gathered(lambda: self._keep(draft))
        return self._ranks.from_first(lambda: self._commit(draft, parts))

    def _keep(self, draft: _Draft) -> tuple[File, ...]:
        paths = [path.name for path in draft.path.glob(f"__{self._ranks.rank}_*")]
        if self._ranks.rank == 0:
            durable.write(draft.path / RECORD, records.encode(draft.record))
            paths += [RECORD, ".metadata"]
        return self._store.keep(draft.name, sorted(paths))

    def _commit(self, draft: _Draft, parts: list[tuple[File, ...]]) -> str:
        name = self._store.commit(draft.name, Manifest(tuple(file for part in parts for file in part)))
        self._names.append(name)
        self._on_saved(draft.record.position, name)
        self._remove_old()
        return name

    def _remove_old(self) -> None:
        """Before other ranks hear of the commit. What cannot be removed now is with the next one."""
        for name in self._names[: -self._keep_last]:
            try:
                self._store.remove(name)
            except OSError as error:
                log.warning("checkpoint not removed", extra={"checkpoint": name, "reason": str(error)})
            else:
                self._names.remove(name)

    def _swept(self) -> list[str]:
        self._store.sweep()
        return self._store.names()[::-1]


def _staging() -> StagingOptions:
    cuda = torch.cuda.is_available()
    return StagingOptions(
        use_pinned_memory=cuda, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=cuda
    )
