"""Tasks of a job: what a queue entry says, and what became of it. As JSON they are the queue's payload and result."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from modelyard.errors import InvalidInputError
from modelyard.jobs.job import NO_ROW

_ID = re.compile(r"(?:k([0-9]+)-([0-9]+)-([0-9]+)\.)?r([0-9]+)-([0-9]+)(s?)\Z")


@dataclass(frozen=True)
class Shards:
    """Shards [begin, end) of `of`, by the hash of the key."""

    begin: int
    end: int
    of: int


@dataclass(frozen=True)
class TaskSpec:
    """Rows that are executed together.

    Attributes:
        begin: the first row. Where there are `shards`, the first of their rows, counted in the order of the dataset.
        end: behind the last.
        shards: which the rows are of; None: of the whole dataset.
        suspect: it is a part of a task that failed, or that killed its process, as often as it may.
    """

    begin: int
    end: int
    shards: Shards | None = None
    suspect: bool = False

    @property
    def rows(self) -> int:
        """How many there are."""
        return self.end - self.begin

    @property
    def row(self) -> int:
        """The number of its only row; -1 if it has more, or if only the dataset can tell."""
        return self.begin if self.rows == 1 and self.shards is None else NO_ROW

    @property
    def id(self) -> str:
        """Its name in the queue: who plans the same rows twice names them the same."""
        shards = f"k{self.shards.begin}-{self.shards.end}-{self.shards.of}." if self.shards else ""
        return f"{shards}r{self.begin}-{self.end}{'s' if self.suspect else ''}"

    @classmethod
    def parse(cls, name: str) -> TaskSpec:
        """The task of a name. InvalidInputError: it is none of a task."""
        found = _ID.match(name)
        if found is None:
            raise _no_task(name)
        *numbers, suspect = found.groups()
        first, last, of, begin, end = (int(number or 0) for number in numbers)
        shards = None if numbers[0] is None else Shards(first, last, of)
        if begin >= end or (shards and not first < last <= of):
            raise _no_task(name)
        return cls(begin, end, shards, bool(suspect))


def _no_task(name: str) -> InvalidInputError:
    return InvalidInputError(f"task {name!r:.80}: expected rows as r0-100, perhaps of shards as k0-1-16.r0-100")


@dataclass(frozen=True)
class StoredPiece:
    """A file that an attempt has written into the artifact store.

    Attributes:
        output: which it is of; empty: it is Parquet, of all.
        rows: how many are in it.
        size_bytes: of the file.
        shape: of one row of an npy piece.
        chunks: sha256 of its chunks, in order.
    """

    output: str
    rows: int
    size_bytes: int
    chunks: tuple[str, ...]
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """How a task has ended: it has pieces, or it was replaced by tasks that have all of its rows.

    Attributes:
        seconds: that the runner spent on it.
        worker: which executed it.
        pieces: of results, one an output.
        parts: what replaces it, in order.
        reason: why it was replaced.
    """

    seconds: float
    worker: str
    pieces: tuple[StoredPiece, ...] = ()
    parts: tuple[TaskSpec, ...] = ()
    reason: str = ""


def check_parts(task: TaskSpec, parts: Sequence[TaskSpec]) -> None:
    """Raise InvalidInputError unless the parts are smaller than a task and have each of its rows once, in order."""
    ends = [task.begin, *(part.end for part in parts)]
    begins = [*(part.begin for part in parts), task.end]
    same = all(part.shards == task.shards and 0 < part.rows < task.rows for part in parts)
    if not same or begins != ends:
        got = ", ".join(part.id for part in parts) or "none"
        raise InvalidInputError(f"task {task.id}: expected parts with each of its rows once, got {got:.300}")
