"""A job as it stands, and what is told of it. Plain values, as Redis, the wire and the SDK have them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from modelyard.jobs.found import Found, Stored
from modelyard.jobs.spec import JobSpec, ResultFormat
from modelyard.jobs.states import ENDED, JobState
from modelyard.jobs.training_progress import Checkpoint, Measurement, TrainingProgress

UNCOUNTED = -1
NO_ROW = -1


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        rows: of the dataset; -1: not counted yet.
        done_rows: those that have their result.
        dead_rows: those that were given up.
        tasks: that there are so far; until all rows are planned there will be more.
        retries: attempts that had to be made again, because the model raised or the worker was lost.
        workers: who executes a task of it now.
        rows_per_s: of late; 0: not known.
        estimated_end_s: when it will have ended if it goes on like this, in seconds since the epoch; 0: not known.
        training: of a job that trains a model, which has no rows; None: of others, and until it was begun.
    """

    rows: int = UNCOUNTED
    done_rows: int = 0
    dead_rows: int = 0
    tasks: int = 0
    queued_tasks: int = 0
    running_tasks: int = 0
    done_tasks: int = 0
    retries: int = 0
    workers: tuple[str, ...] = ()
    rows_per_s: float = 0.0
    estimated_end_s: float = 0.0
    training: TrainingProgress | None = None

    @property
    def counted(self) -> bool:
        """Whether it is known how many rows there are."""
        return self.rows != UNCOUNTED

    @property
    def left_rows(self) -> int:
        """Rows that have not ended; 0 while they are not counted."""
        return self.rows - self.done_rows - self.dead_rows if self.counted else 0


@dataclass(frozen=True)
class Usage:
    """What was done for somebody: rows (or samples), tasks, and seconds that runners (or ranks) spent on them.

    Those of ranks are counted by their control process (modelyard.train.control.spending): from when each is a member
    of a formation until it is lost or the formation ends. To wait for one costs nothing.
    """

    rows: int = 0
    tasks: int = 0
    compute_s: float = 0.0


@dataclass(frozen=True)
class Job:
    """A job that was accepted; times are in seconds since the epoch, 0: not yet.

    Attributes:
        spec: with its version resolved.
        reason: why it is in its state, where that is not the ordinary course of things.
        start_time_s: when its first task was queued.
        asked: a digest of the spec as it was submitted, before its version was resolved.
        found: what planning has found about its dataset; None: not yet.
        outcomes: of its tasks, once it has ended; None: they are in the queue still.
        retrying: dead letters that its owner wants executed again, by their tasks' names, and that are not queued yet.
        version: of a training: what came of it; empty: nothing yet.
        measurements: of a training: the last values of training and of validation.
        traceback: of the user's own code, where that has failed it.
        checkpoint: of a training: the last one, from which it goes on, and another job can until this one is forgotten;
            None: there is none yet.
    """

    id: str
    tenant: str
    spec: JobSpec
    state: JobState = JobState.QUEUED
    reason: str = ""
    create_time_s: float = 0.0
    start_time_s: float = 0.0
    end_time_s: float = 0.0
    progress: Progress = Progress()
    usage: Usage = Usage()
    asked: str = ""
    found: Found | None = None
    outcomes: Stored | None = None
    retrying: tuple[str, ...] = ()
    version: str = ""
    measurements: tuple[Measurement, ...] = ()
    traceback: str = ""
    checkpoint: Checkpoint | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing happens by itself any more."""
        return self.state in ENDED


@dataclass(frozen=True)
class DeadLetter:
    """A row that was given up.

    Attributes:
        row: counted from 0; -1 where the job is sharded by a key, when the reason names it, and where several rows were
            given up together, which the task's name tells.
        failures: how often the model raised.
        deaths: how often its worker was lost.
    """

    task: str
    row: int
    reason: str
    failures: int = 0
    deaths: int = 0


class EventKind(StrEnum):
    """What is told to who watches a job."""

    SNAPSHOT = "SNAPSHOT"
    """The whole job, with nothing known before."""
    STATE = "STATE"
    PROGRESS = "PROGRESS"
    TASK_DONE = "TASK_DONE"
    TASK_RETRY = "TASK_RETRY"
    TASK_RECOVERED = "TASK_RECOVERED"
    TASK_SPLIT = "TASK_SPLIT"
    TASK_DEAD = "TASK_DEAD"
    TASK_REVIVED = "TASK_REVIVED"
    TASK_STARTED = "TASK_STARTED"


@dataclass(frozen=True)
class TaskNews:
    """What an event says of a task: its rows [begin, end), who had it, and why it failed or was lost."""

    id: str
    begin: int
    end: int
    worker: str = ""
    reason: str = ""


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job.

    Attributes:
        event: the number to go on from.
        job: of SNAPSHOT, STATE and PROGRESS.
        task: of all others.
        measurements: of a training, that were not told before.
    """

    kind: EventKind
    event: int
    time_s: float
    job: Job | None = None
    task: TaskNews | None = None
    measurements: tuple[Measurement, ...] = ()


@dataclass(frozen=True)
class ResultsHeader:
    """What a file of results is.

    Attributes:
        complete: whether every row is in it that is not a dead letter; if not, there will be another file.
        etag: of this very file.
    """

    format: ResultFormat
    size_bytes: int
    rows: int
    complete: bool
    etag: str
