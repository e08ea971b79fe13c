"""The record of a job: what its owner and the leader have made of it. To the queue it is bytes, with a revision."""

from __future__ import annotations

from dataclasses import dataclass

MAX_RECORD_BYTES = 1 << 20
"""Of a record, and of a plan."""


@dataclass(frozen=True)
class Written:
    """What is written of a job.

    Attributes:
        record: what there is to know of it, at most 1 MiB, not empty.
        phase: its state by that, a name; when it is another one the job's watchers are told.
        plan: what is to be done, at most 1 MiB; None: as it was.
        keep_s: it has ended, and is to be forgotten so many seconds from now; None: it has not.
    """

    record: bytes
    phase: str
    plan: bytes | None = None
    keep_s: float | None = None


@dataclass(frozen=True)
class JobRecord:
    """A job's record as it stands.

    Attributes:
        job: its id.
        record: as it was written last.
        revision: 1 for the first; it counts what was written.
        epoch: of the leader that wrote last, or queued tasks; 0: none has.
        plan: empty while there is none, and where records of several jobs are read.
    """

    job: str
    record: bytes
    revision: int
    epoch: int
    plan: bytes = b""


@dataclass(frozen=True)
class Listed:
    """A job's place in the list: later ones have higher ones, and no two the same."""

    job: str
    place: int
