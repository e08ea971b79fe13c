"""Jobs and tasks of the queue in memory, and how their states change."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from modelyard.queue import checks
from modelyard.queue.job_records import JobRecord
from modelyard.queue.memory_turns import Entry, Turns
from modelyard.queue.records import Counts, DeadLetter, Event, Job, JobState, Task, TaskName, TaskState

EVENTS = 1000


@dataclass
class HeldTask:
    """A task and what has happened to it."""

    spec: Task
    state: TaskState = "open"
    entries: dict[int, Entry] = field(default_factory=dict)
    result: bytes = b""
    reason: str = ""
    letter: str = ""
    winner: str = ""
    attempts: int = 0
    failures: int = 0
    deaths: int = 0
    since_s: float | None = None
    delayed: bool = False

    @property
    def claimed(self) -> bool:
        """Whether somebody has it."""
        return any(entry.token for entry in self.entries.values())


@dataclass
class HeldRecord:
    """A job's record."""

    found: JobRecord
    phase: str
    place: int
    active: bool = True
    due_s: float | None = None


@dataclass
class HeldJob:
    """A job and its tasks.

    Attributes:
        parked: out of their lane while it is paused, or has ended.
        endings: as they became done or dead, after those that are forgotten.
        cleared: how many of those that are gone were in which state.
    """

    spec: Job
    state: JobState = "running"
    tasks: dict[str, HeldTask] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    parked: list[str] = field(default_factory=list)
    endings: list[str] = field(default_factory=list)
    forgotten: int = 0
    emitted: int = 0
    epoch: int = 0
    record: HeldRecord | None = None
    cleared: Counter[TaskState] = field(default_factory=Counter)

    @property
    def closed(self) -> str:
        """The state in which it takes no more tasks; empty if it does."""
        if self.state not in {"running", "paused"}:
            return self.state
        return "ended" if self.record and self.record.due_s is not None else ""

    def check_epoch(self, epoch: int) -> None:
        """Raise AbortedError if a later leader has written the record, or queued tasks."""
        if 0 < epoch < self.epoch:
            raise checks.deposed(self.spec.id, epoch, self.epoch)

    def counts(self) -> Counts:
        """How many tasks are in which state."""
        states = self.cleared + Counter(task.state for task in self.tasks.values())
        in_flight = sum(task.state == "open" and task.claimed for task in self.tasks.values())
        delayed = sum(task.state == "open" and task.delayed for task in self.tasks.values())
        queued = states["open"] - in_flight - delayed
        return Counts(queued, in_flight, states["done"], states["dead"], states["cancelled"], delayed)


class Memory:
    """What the sides of MemoryQueue share."""

    def __init__(self, clock: Callable[[], float], jitter: Callable[[], float]) -> None:
        """`clock`: seconds; `jitter`: which part of a delay to wait."""
        self.clock = clock
        self.jitter = jitter
        self.jobs: dict[str, HeldJob] = {}
        self.weights: dict[str, float] = {}
        self.turns: dict[str, Turns] = defaultdict(lambda: Turns(self.weights))
        self.delayed: dict[str, dict[tuple[str, str], float]] = defaultdict(dict)
        self.dedupe: dict[tuple[str, str], TaskName] = {}
        self.answers: dict[str, list[TaskName]] = defaultdict(list)
        self.rings: set[str] = set()
        self.rota: dict[str, int] = {}
        self.caps: dict[str, int] = {}
        self.kept_out: dict[str, set[str]] = defaultdict(set)
        self.passed_over: set[str] = set()
        self.numbers = itertools.count(1)
        self._changed = asyncio.Event()

    def changed(self) -> None:
        """Let those who wait look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], object], wait_s: float) -> bool:
        """Wait for a condition; False if it does not come true in time."""
        try:
            async with asyncio.timeout(wait_s):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def held(self, job: str) -> HeldJob:
        """A job. NotFoundError."""
        if job not in self.jobs:
            raise checks.no_job(job)
        return self.jobs[job]

    def find(self, job: str, task: str) -> HeldTask | None:
        """A task, if there is one."""
        return self.jobs[job].tasks.get(task) if job in self.jobs else None

    def ring(self, model: str) -> None:
        """Wake one who waits for this model."""
        self.rings.add(model)
        self.changed()

    def add_entry(self, job: HeldJob, task: HeldTask) -> None:
        """Put a task into its stream."""
        entry = Entry(next(self.numbers), job.spec.id, task.spec.id, self.clock())
        turns = self.turns[job.spec.model]
        turns.lanes[job.spec.tenant, job.spec.priority].entries[entry.number] = entry
        task.entries[entry.number] = entry
        turns.update(job.spec.tenant)
        self.ring(job.spec.model)

    def remove_entry(self, job: HeldJob, task: HeldTask, entry: Entry) -> None:
        """Take an entry out of its stream."""
        turns = self.turns[job.spec.model]
        del turns.lanes[job.spec.tenant, job.spec.priority].entries[entry.number]
        del task.entries[entry.number]
        turns.update(job.spec.tenant)
        if not any(lane.entries for turns in self.turns.values() for lane in turns.lanes.values()):
            self.rota.clear()

    def remove_entries(self, job: HeldJob, task: HeldTask) -> None:
        """Take all of a task's entries out."""
        for entry in list(task.entries.values()):
            self.remove_entry(job, task, entry)

    def give_back(self, job: HeldJob, task: HeldTask, entry: Entry) -> None:
        """Have a claimed entry fetched again, before others."""
        entry.token, entry.returned = "", True
        self.settle_flight(job, task)
        self.turns[job.spec.model].update(job.spec.tenant)
        self.ring(job.spec.model)

    def settle_flight(self, job: HeldJob, task: HeldTask) -> None:
        """See that a task which nobody has any more is not in flight."""
        if task.since_s is not None and not task.claimed:
            task.since_s = None
            self.let_in(job.spec.tenant)

    def let_in(self, tenant: str) -> None:
        """Give a tenant its turns again that had as much in flight as it may."""
        for model in self.kept_out.pop(tenant, ()):
            self.turns[model].update(tenant)
            self.ring(model)

    def settle_parked(self, job: HeldJob) -> None:
        """Have what is parked fetched again, some with each fetch, if its job runs."""
        marked, delayed = (job.spec.id, ""), self.delayed[job.spec.model]
        if job.state == "running" and not job.closed and job.parked:
            delayed[marked] = -math.inf
            self.ring(job.spec.model)
        else:
            delayed.pop(marked, None)

    def emit(self, job: HeldJob, kind: str, task: str = "", detail: str = "") -> None:
        """Tell those who watch."""
        job.emitted += 1
        job.events.append(Event(job.emitted, kind, task, detail, self.clock(), job.counts()))
        del job.events[:-EVENTS]
        self.changed()

    def end(self, job: HeldJob, task: HeldTask, state: TaskState) -> None:
        """Bring a task to its end."""
        task.state, task.delayed = state, False
        self.settle_flight(job, task)
        if state != "dead":
            self._let_go_of_key(job, task)
        if state != "cancelled":
            job.endings.append(task.spec.id)
        if task.spec.reply:
            self.answers[task.spec.reply].append(TaskName(job.spec.id, task.spec.id))

    def _let_go_of_key(self, job: HeldJob, task: HeldTask) -> None:
        key = job.spec.tenant, task.spec.dedupe
        if self.dedupe.get(key) == TaskName(job.spec.id, task.spec.id):
            del self.dedupe[key]

    def cancel_open(self, job: HeldJob) -> None:
        """End all that is open."""
        job.parked.clear()
        self.settle_parked(job)
        left = [task for task in job.tasks.values() if task.state == "open"]
        for task in left:
            self.remove_entries(job, task)
            self.delayed[job.spec.model].pop((job.spec.id, task.spec.id), None)
            self.end(job, task, "cancelled")
        if left:
            self.emit(job, "drained")

    def bury(self, job: HeldJob, task: HeldTask, reason: str) -> None:
        """Make a dead letter."""
        self.end(job, task, "dead")
        task.reason, task.letter = reason, f"{next(self.numbers)}-0"
        job.letters.append(DeadLetter(task.letter, task.spec.id, reason, task.failures, task.deaths))
        self.emit(job, "dead", task.spec.id, reason)
