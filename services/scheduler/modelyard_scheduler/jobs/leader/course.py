"""What the leader remembers of a job from one round to the next. Pure: what it is told in, what is to be done out.

All of it can be found again: in the record and its plan, in what was stored, and in the queue.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, replace

from modelyard.codec import decode
from modelyard.jobs.harvest import harvest
from modelyard.jobs.job import Job, Progress
from modelyard.jobs.ledger import Tally, progress, repeated
from modelyard.jobs.planning import Plan
from modelyard.jobs.speed import Throughput
from modelyard.jobs.states import JobState
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.queue import Counts, TaskStatus
from modelyard_scheduler.jobs.outcomes import Outcomes
from modelyard_scheduler.jobs.records import Held

BUSY_S, QUIET_S = 1.0, 5.0
"""Between two rounds of a job of which tasks are executed, and of one of which none is."""


@dataclass
class Course:
    """How a job has gone so far.

    Attributes:
        held: its record as it was read or written last.
        outcomes: of its tasks.
        tally: what these come to.
        throughput: rows by the clock.
        open: tasks that have not ended, by their names, in the order in which they came to be.
        unqueued: those of them that are not known to be queued.
        unheld: chunks of results that the leader does not hold yet.
        counts: the queue's, when it was last asked.
        workers: who executed a task of it then.
        lost: something was forgotten: it has to be begun anew.
        rests: whether what it reads is held, of a job that was paused before it was planned.
        again: somebody else has written the record: it is to be read and looked at once more.
        looked_s, written_s, held_s: when it was looked who executes what, its record written, its results held.
    """

    held: Held
    outcomes: Outcomes
    tally: Tally = field(default_factory=Tally)
    throughput: Throughput = field(default_factory=Throughput)
    open: dict[str, TaskSpec] = field(default_factory=dict)
    unqueued: dict[str, TaskSpec] = field(default_factory=dict)
    unheld: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    workers: tuple[str, ...] = ()
    lost: bool = False
    rests: bool = False
    again: bool = False
    looked_s: float = -math.inf
    written_s: float = -math.inf
    held_s: float = 0.0

    @classmethod
    def begin(cls, held: Held, outcomes: Outcomes, now_s: float, elapsed_s: float = 0.0) -> Course:
        """Of a job that nobody has looked after in this term. What is open may be queued or not."""
        found = harvest(held.plan or Plan(0), outcomes.done, outcomes.dead)
        before = held.job.progress.retries if outcomes.stored else 0
        course = cls(held, outcomes, Tally(retries=before + outcomes.retries))
        for name, outcome in outcomes.done.items():
            course.tally = course.tally.done(TaskSpec.parse(name), outcome)
            course.unheld += chunks_of(outcome)
        for task in found.dead:
            course.tally = course.tally.buried(task)
        course._open(found.open)
        course.throughput = Throughput.begin(found.rows, now_s)
        course.held_s = elapsed_s
        return course

    @property
    def job(self) -> Job:
        """As it was read or written last."""
        return self.held.job

    @property
    def pause_s(self) -> float:
        """How long until it is looked at again if nothing happens."""
        return BUSY_S if self.again or self.counts.in_flight > 0 else QUIET_S

    @property
    def plan(self) -> Plan:
        """Of no rows while there is none."""
        return self.held.plan or Plan(0)

    def _open(self, tasks: Collection[TaskSpec]) -> None:
        known = {task.id: task for task in tasks}
        self.open |= known
        self.unqueued |= known

    def take(self, status: TaskStatus) -> int:
        """Note how a task has ended; return how many attempts had to be made again for that.

        What is known already, or is executed again, changes nothing.
        """
        task, retries, most = TaskSpec.parse(status.task), 0, self.job.spec.max_attempts
        if status.state == "done" and task.id not in self.outcomes.done:
            outcome = decode(Outcome, status.result)
            retries = repeated(task, status, outcome, most)
            self._done(task, outcome)
        elif status.state == "dead" and task.id not in self.outcomes.dead:
            retries = repeated(task, status, None, most)
            self._close(task)
            self.outcomes.dead.add(task.id)
            self.tally = self.tally.buried(task)
        self.tally = self.tally.retried(retries)
        return retries

    def _done(self, task: TaskSpec, outcome: Outcome) -> None:
        self._close(task)
        if task.id in self.outcomes.dead:
            self.revive(task)
        self.outcomes.done[task.id] = outcome
        self.tally = self.tally.done(task, outcome)
        self.unheld += chunks_of(outcome)
        self._open([part for part in outcome.parts if part.id not in self.outcomes.done])

    def _close(self, task: TaskSpec) -> None:
        self.open.pop(task.id, None)
        self.unqueued.pop(task.id, None)

    def revive(self, task: TaskSpec) -> None:
        """Note that one that was given up is executed again."""
        if task.id in self.outcomes.dead:
            self.outcomes.dead.remove(task.id)
            self.tally = self.tally.revived(task)
            self.counts = replace(self.counts, dead=max(self.counts.dead - 1, 0))
            self.open[task.id] = task

    def write(self, held: Held) -> None:
        """Note what was written. Tasks that its plan has more than before are open."""
        before = self.plan.planned
        self.held = held
        self._open(list(self.plan.tasks(before)) if self.plan.planned > before else [])

    def queue(self, tasks: Collection[str]) -> None:
        """Note that tasks are in the queue."""
        for task in tasks:
            self.unqueued.pop(task, None)
        self.counts = replace(self.counts, queued=self.counts.queued + len(tasks))

    def ask(self, counts: Counts) -> bool:
        """Note what the queue counts; return whether it has forgotten a task that was in it.

        A Redis that was restarted may have, unless it writes down what it is told before it answers.
        """
        self.counts = counts
        there = counts.queued + counts.delayed + counts.in_flight + counts.done + counts.dead + counts.cancelled
        return there < self.ended + len(self.open) - len(self.unqueued)

    @property
    def ended(self) -> int:
        """How many tasks have."""
        return len(self.outcomes.done) + len(self.outcomes.dead)

    @property
    def behind(self) -> bool:
        """Whether the queue knew of more that had ended when it was last asked than all it has told since."""
        return self.ended < self.counts.done + self.counts.dead

    @property
    def settled(self) -> bool:
        """Whether all outcomes are in the artifact store."""
        return self.outcomes.stored == len(self.outcomes.done)

    def observe(self, now_s: float) -> None:
        """Note how fast it is. Pauses do not count, nor does the time until its model is loaded."""
        rows = self.tally.done_rows
        waits = self.job.state is JobState.PAUSED or not (rows or self.counts.in_flight)
        self.throughput = self.throughput.resume(now_s) if waits else self.throughput.observe(rows, now_s)

    def progress(self) -> Progress:
        """How far it is."""
        if self.held.plan is None:
            return self.job.progress
        found = progress(self.held.plan, self.tally, self.counts, self.throughput, self.workers)
        return replace(found, retries=max(found.retries, self.job.progress.retries))


def chunks_of(outcome: Outcome) -> list[str]:
    """What its results are made of."""
    return [chunk for piece in outcome.pieces for chunk in piece.chunks]
