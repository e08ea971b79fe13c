"""Saving while training goes on: the state is copied, then written by a thread.

In a thread and not in a process of its own, which torch.distributed.checkpoint offers too: bench/train/checkpoint.py
compares them.
"""

from __future__ import annotations

import logging
import queue
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch.distributed.checkpoint.planner import SavePlan
from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions
from torch.distributed.checkpoint.storage import WriteResult

from modelyard.catalogue import File, Manifest
from modelyard.jobs.checkpoints import STEP_DIGITS
from modelyard.train.checkpoint import durable
from modelyard.train.checkpoint import record as records
from modelyard.train.checkpoint.part import METADATA, Division, Part, files_of
from modelyard.train.checkpoint.ranks import Ranks
from modelyard.train.checkpoint.record import RECORD, Record
from modelyard.train.checkpoint.store import CheckpointStore
from modelyard.train.checkpoint.structure import State, Tensors, merged, take_apart
from modelyard.train.position import Position
from modelyard.train.reduction import GroupLost

log = logging.getLogger(__name__)

OnSaved = Callable[[Position, str], None]
OnFailed = Callable[[Position, Exception], None]
LOOK_S = 0.2
"""How often it is looked, while a checkpoint is waited for, whether it can still count."""


@dataclass(frozen=True)
class _Draft:
    number: int
    position: Position
    tensors: Tensors
    structure: Any
    saved: Future[str]


@dataclass(frozen=True)
class _Said:
    """What a rank says of its part before it is written."""

    plan: SavePlan
    structure: Any


@dataclass(frozen=True)
class _Kept:
    """What a rank says of its part when the store has it."""

    results: list[WriteResult]
    files: tuple[File, ...]


class Checkpoints:
    """Saves the checkpoints of a run, one at a time; `close` it in the end. Used by the thread that trains."""

    def __init__(
        self,
        store: CheckpointStore,
        *,
        ranks: Ranks | None = None,
        keep_last: int = 3,
        on_saved: OnSaved = lambda position, name: None,
        on_failed: OnFailed = lambda position, error: None,
    ) -> None:
        """Nothing is written yet; what killed runs have left of their drafts is removed before the first is.

        Args:
            store: this rank's.
            ranks: that share the state; what they tell each other is of another thread, until nothing is being written.
                None: this process has all of it.
            keep_last: so many of the newest are kept.
            on_saved: called by the thread that writes, on rank 0, with each checkpoint that counts.
            on_failed: called by that thread, on every rank, with each that was begun and will not count.
        """
        self._store = store
        self._ranks = ranks or Ranks()
        self._keep_last = keep_last
        self._on_saved = on_saved
        self._on_failed = on_failed
        self._stager = DefaultStager(_staging())
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self._names: list[str] | None = None
        self._commits = False
        self._last: Future[str] | None = None
        self._drafts: queue.SimpleQueue[_Draft | None] = queue.SimpleQueue()
        # No thread of a pool: the process waits for those when it ends, and this one may wait for a store.
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether one is being written: `save` would wait for it."""
        return self._last is not None and not self._last.done()

    def save(self, state: State, position: Position) -> Future[str]:
        """Begin to save a state; return when it is copied and may change again. All ranks do so.

        Waits until the one before is written, whether or not that succeeded.

        Args:
            state: each rank's: DTensors as they are, whatever is equal on all ranks, and what only some have; dicts
                have on each rank what that has of them.
            position: of the run.

        Returns:
            The name by which it is loaded, once it counts. Its errors: GroupLost, those of CheckpointStore, and
            OSError; they are also written to the log.

        Raises:
            InvalidInputError: something cannot be saved.
        """
        self.settle()
        tensors, structure = take_apart(state)
        # What else it may return comes of stagers that stage in a thread.
        self._count += 1
        draft = _Draft(self._count, position, cast("Tensors", self._stager.stage(tensors)), structure, Future())
        self._last = draft.saved
        self._drafts.put(draft)
        return draft.saved

    def settle(self) -> None:
        """Wait until nothing is being written that may still count: once a rank is lost only rank 0 can bring it about.

        What is being stored then is given up: it is held for no longer than any upload.
        """
        while self.busy and (self._commits or not self._ranks.lost):
            wait([cast("Future[str]", self._last)], LOOK_S)

    def close(self) -> None:
        """Wait until nothing is being written, and let go of what is kept for it."""
        self.settle()
        self._drafts.put(None)
        self._thread.join()
        self._stager.close()

    def _work(self) -> None:
        while draft := self._drafts.get():
            try:
                name = self._finish(draft)
            except Exception as error:
                log.error("checkpoint not saved", extra={"step": draft.position.step, "reason": str(error)[:500]})
                self._on_failed(draft.position, error)
                draft.saved.set_exception(error)
            else:
                draft.saved.set_result(name)
            del draft

    def _finish(self, draft: _Draft) -> str:
        """Have a draft count once all ranks have written and kept their parts; return its name."""
        self._ranks.begin(draft.number, draft.position.step)
        name = self._ranks.from_first(lambda: self._begun(draft))
        try:
            return self._written(name, draft)
        finally:
            if self._ranks.rank == 0 or not self._ranks.lost:  # else rank 0 may commit it at this moment
                self._store.discard(name)

    def _begun(self, draft: _Draft) -> str:
        if self._names is None:
            self._store.sweep()
            self._names = self._store.names()[::-1]
        return f"{draft.position.step:0{STEP_DIGITS}d}-{self._run}-{draft.number}"

    def _written(self, name: str, draft: _Draft) -> str:
        parts: list[Part] = []

        def say() -> _Said:
            parts.append(Part(draft.tensors, self._store.place(name)))
            return _Said(parts[0].plan(), draft.structure)

        said = self._ranks.gathered(say)
        division = self._ranks.from_first(lambda: parts[0].divided([one.plan for one in said]))
        kept = self._ranks.gathered(lambda: self._keep(name, parts[0], division))

        def commit() -> str:
            record = Record(draft.position, merged([one.structure for one in said]), self._ranks.world)
            parts[0].finish(division.metadata, [one.results for one in kept])
            return self._commit(name, record, kept)

        return self._concluded(commit)

    def _keep(self, name: str, part: Part, division: Division) -> _Kept:
        results = part.write(division.plans[self._ranks.rank])
        return _Kept(results, self._store.keep(name, files_of(results)))

    def _commit(self, draft: str, record: Record, kept: Sequence[_Kept]) -> str:
        durable.write(self._store.place(draft) / RECORD, records.encode(record))
        said = self._store.keep(draft, (METADATA, RECORD))
        name = self._store.commit(draft, Manifest((*said, *(file for one in kept for file in one.files))))
        assert self._names is not None  # noqa: S101 (it has begun)
        self._names.append(name)
        self._on_saved(record.position, name)
        self._remove_old(self._names)
        return name

    def _concluded(self, commit: Callable[[], str]) -> str:
        """Have rank 0 commit, and tell the others. If a rank is lost meanwhile it counts all the same."""
        made: list[str] = []

        def make() -> str:
            made.append(commit())
            return made[0]

        self._commits = self._ranks.rank == 0
        try:
            return self._ranks.from_first(make)
        except GroupLost:
            if made:
                return made[0]
            raise
        finally:
            self._commits = False

    def _remove_old(self, names: list[str]) -> None:
        """Before other ranks hear of the commit. What cannot be removed now is with the next one."""
        for name in names[: -self._keep_last]:
            try:
                self._store.remove(name)
            except OSError as error:
                log.warning("checkpoint not removed", extra={"checkpoint": name, "reason": str(error)})
            else:
                names.remove(name)


def _staging() -> StagingOptions:
    cuda = torch.cuda.is_available()
    return StagingOptions(
        use_pinned_memory=cuda, use_shared_memory=False, use_async_staging=False, use_non_blocking_copy=cuda
    )
