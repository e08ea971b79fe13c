"""What goes into the queue and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

JobState = Literal["running", "paused", "cancelled", "deleting"]
TaskState = Literal["open", "done", "dead", "cancelled"]
Ending = Literal["stale", "superseded", "retry", "dead"]
MAX_PRIORITY = 9
MAX_PAYLOAD_BYTES = 1 << 20
MAX_RESULT_BYTES = 64 << 10
MAX_REASON = 1000
"""Characters of a failure's reason; what is longer is cut."""


@dataclass(frozen=True)
class Caps:
    """How much a tenant may have in the queue, over all its jobs.

    Attributes:
        queued: tasks that wait, delayed ones too.
        in_flight: claimed tasks; of who has as many none is fetched, others' are. As the last `enqueue` said.
        stream: entries of one stream.
        jobs, kept: that have not ended; and at all, beyond which the oldest that have are forgotten before their time.
    """

    queued: int = 1_000_000
    in_flight: int = 10_000
    stream: int = 1_000_000
    jobs: int = 1000
    kept: int = 10_000


@dataclass(frozen=True)
class RetryPolicy:
    """What happens to a task that does not end well.

    Attributes:
        max_failures, max_deaths: it is a dead letter when the model raised so often, or so many workers were lost.
        first_s: delay after the first failure; it doubles with each.
        max_s: the longest delay. Of every delay a random part between a half and the whole is waited.
    """

    max_failures: int = 3
    max_deaths: int = 3
    first_s: float = 1.0
    max_s: float = 60.0


@dataclass(frozen=True)
class Job:
    """Whose tasks they are. `model`: model@version; `priority`: 0 (first) to 9."""

    id: str
    model: str
    tenant: str
    priority: int = 5
    retry: RetryPolicy = RetryPolicy()


@dataclass(frozen=True)
class Task:
    """One entry of the queue.

    Attributes:
        id: unique in its job.
        payload: what the worker needs, at most 1 MiB: references, not data.
        reply: the replica to wake when it has ended; empty for none.
        dedupe: only one task of a tenant has such a key until it is done or cancelled (a dead letter keeps it); empty
            for none.
        cost: what it counts in its tenant's share.
    """

    id: str
    payload: bytes = b""
    reply: str = ""
    dedupe: str = ""
    cost: float = 1.0


@dataclass(frozen=True)
class TaskName:
    """A task, by its job's name and its own."""

    job: str
    task: str


@dataclass(frozen=True)
class Claim:
    """A worker's hold on a task, until its lease runs out.

    Attributes:
        entry: of the stream.
        token: of this claim alone.
        attempt: 1 for the first.
        failures: how often the model raised; of two attempts that were on together the last to fail counts.
        deaths: how often a worker was lost with it; of two attempts as well.
        waited_s: since it was put into the stream.
    """

    job: str
    task: str
    entry: str
    token: str
    model: str
    tenant: str
    priority: int
    payload: bytes
    attempt: int
    failures: int
    deaths: int
    waited_s: float


@dataclass(frozen=True)
class Idle:
    """Nothing to fetch; `due_s`: seconds until there may be something without a ring, None if that will not be."""

    due_s: float | None


@dataclass(frozen=True)
class Failed:
    """What became of a task whose claim failed.

    `retry` after `delay_s` seconds, `dead`, `superseded` by another attempt that is on; nothing of a `stale` claim.
    """

    ending: Ending
    delay_s: float = 0.0


@dataclass(frozen=True)
class Recovered:
    """A claim that was taken from its owner. `outcome`: `returned`, `superseded` by another attempt, or `dead`."""

    job: str
    task: str
    owner: str
    outcome: str


@dataclass(frozen=True)
class Counts:
    """A job's tasks. `queued`: can be fetched, unless it is paused; `delayed`: have failed and wait to be retried."""

    queued: int = 0
    in_flight: int = 0
    done: int = 0
    dead: int = 0
    cancelled: int = 0
    delayed: int = 0


@dataclass(frozen=True)
class JobStatus:
    """A job as it stands; `event`: the number of its last event."""

    job: Job
    state: JobState
    counts: Counts
    event: int


@dataclass(frozen=True)
class TaskStatus:
    """A task as it stands; `result`: the reference that it was finished with; `reason`: of its last failure."""

    task: str
    state: TaskState
    result: bytes = b""
    reason: str = ""
    attempts: int = 0
    failures: int = 0
    deaths: int = 0


@dataclass(frozen=True)
class Ended:
    """A task that was done, or given up: the `number`-th of its job, from 1 on; `status`: as it stands now."""

    number: int
    status: TaskStatus


@dataclass(frozen=True)
class InFlight:
    """A task in flight.

    Attributes:
        age_s: since when somebody has it.
        attempts: that are on or wait to be fetched: 2, if it was given a second one.
        workers: who has claimed it, in the order of their names.
    """

    task: str
    age_s: float
    attempts: int
    workers: tuple[str, ...]


@dataclass(frozen=True)
class Event:
    """Something that happened to a job, and its counters then.

    Attributes:
        number: 1 for the first; the last 1000 are kept, so a watch that was away longer finds a gap.
        kind: `state` (its record has another phase), the queue's own state (running, paused, cancelled, deleting),
            `drained` (its tasks are cancelled), or started, done, retry, recovered, dead, retried of a task.
        detail: the phase, a failure's reason, or the worker that has it or was lost.
    """

    number: int
    kind: str
    task: str
    detail: str
    at_s: float
    counts: Counts


@dataclass(frozen=True)
class DeadLetter:
    """A task that was given up; `letter`: its place in the list."""

    letter: str
    task: str
    reason: str
    failures: int
    deaths: int


@dataclass(frozen=True)
class Depth:
    """What a tenant has of a model; `queued`, `delayed`: as in Counts.

    Attributes:
        oldest_s: since when the oldest queued one waits; 0: there is none.
        dead: dead letters, of all jobs that were not deleted yet.
    """

    tenant: str
    model: str
    queued: int
    in_flight: int
    oldest_s: float
    delayed: int = 0
    dead: int = 0
