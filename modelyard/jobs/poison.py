"""Tasks that fail, or kill the process that executes them: tried again, then split until the rows at fault are alone.

A worker asks `before` when it has fetched a task, `after` when the model raised, `killed` when the runner died, and
does what it is told: RETRY: `fail` in the queue, so that it is fetched later, or `lost`; SPLIT: `finish` with the parts
that replace it; BURY: `fail` that is not retryable: a dead letter. Only a row that is alone is buried, after as many
attempts as it may have: so workers that die for reasons of their own cost work, hardly ever rows. One exception: what
keeps a whole task from being executed is no row's fault, and buries it whole, if it is not over before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto

from modelyard.jobs.spec import JobSpec
from modelyard.jobs.tasks import TaskSpec
from modelyard.queue.records import RetryPolicy

MOST_PARTS = 500
"""So many fit into a task's result."""
FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
CAUTIOUS_CALLS = 64
"""Into so many calls a task is cut of which a runner may have died, so that the next death tells more."""
SPARE_DEATHS = 5
"""How often more a worker may be lost with a task before it could split it, until the queue buries it whole."""


def retry_policy(spec: JobSpec) -> RetryPolicy:
    """What the queue does with the tasks of a job: back-off that doubles, with jitter; limits beyond those of here."""
    return RetryPolicy(spec.max_attempts, spec.max_attempts + SPARE_DEATHS, FIRST_RETRY_S, LONGEST_RETRY_S)


class Step(Enum):
    """What a worker does with a task."""

    EXECUTE = auto()
    RETRY = auto()
    SPLIT = auto()
    BURY = auto()


@dataclass(frozen=True)
class Verdict:
    """A step; of SPLIT the parts that replace the task."""

    step: Step
    parts: tuple[TaskSpec, ...] = ()


def before(task: TaskSpec, deaths: int, max_attempts: int) -> Verdict:
    """What to do with a task that was fetched, which that many workers were lost with."""
    if deaths < _allowed(task, max_attempts):
        return Verdict(Step.EXECUTE)
    return Verdict(Step.SPLIT, halves(task)) if task.rows > 1 else Verdict(Step.BURY)


def after(
    task: TaskSpec, failures: int, max_attempts: int, at_fault: Collection[int] = (), *, permanent: bool = False
) -> Verdict:
    """What to do with a task that has failed.

    Args:
        task: which.
        failures: how often it did so before.
        max_attempts: that a row may have.
        at_fault: the rows that failed when they were executed one by one, counted as the task counts them; empty: it
            was none of them, as when the dataset is damaged.
        permanent: they will fail again, for they could not even be read; without `at_fault`: none of them can be.
    """
    allowed = _allowed(task, max_attempts) if at_fault else max_attempts
    if not permanent and failures + 1 < allowed:
        return Verdict(Step.RETRY)
    if task.rows == 1 or not at_fault:
        return Verdict(Step.BURY)
    return Verdict(Step.SPLIT, isolated(task, at_fault))


def killed(task: TaskSpec, begin: int, end: int) -> Verdict:
    """What to do with a task that a runner died with, while it may have executed the rows [begin, end) of it.

    They are set apart from the others, to be executed with caution; that is no death of anybody's. RETRY: nothing is
    known that the task itself does not say, so it is one.
    """
    begin, end = max(begin, task.begin), min(end, task.end)
    if not 0 < end - begin < task.rows:
        return Verdict(Step.RETRY)
    ends = ((task.begin, begin, False), (begin, end, True), (end, task.end, False))
    return Verdict(Step.SPLIT, tuple(replace(task, begin=a, end=b, suspect=suspect) for a, b, suspect in ends if a < b))


def cautious_rows(task: TaskSpec, deaths: int) -> int:
    """How many rows a call of a task may have that some have died of, perhaps of its rows; 0: it is beyond suspicion.

    Such a task has the instance to itself: who dies with it has died of it, as far as jobs are concerned.
    """
    return -(-task.rows // CAUTIOUS_CALLS) if task.suspect or deaths else 0


def _allowed(task: TaskSpec, max_attempts: int) -> int:
    """How often a task may go wrong: once, if it is about finding out which of its rows is at fault."""
    return 1 if task.suspect and task.rows > 1 else max_attempts


def halves(task: TaskSpec) -> tuple[TaskSpec, TaskSpec]:
    """Two parts of a task of two rows or more; the first time that one of them goes wrong it is split, too."""
    middle = (task.begin + task.end) // 2
    return replace(task, end=middle, suspect=True), replace(task, begin=middle, suspect=True)


def isolated(task: TaskSpec, at_fault: Collection[int]) -> tuple[TaskSpec, ...]:
    """Parts of a task of two rows or more: each row at fault alone, what lies between them together.

    With more than fit into a result, what comes after them is one part, to be split again.
    """
    return tuple(replace(task, begin=begin, end=end, suspect=False) for begin, end in _cut(task, sorted(set(at_fault))))


def _cut(task: TaskSpec, rows: list[int]) -> Iterator[tuple[int, int]]:
    at = task.begin
    for row in rows[: (MOST_PARTS - 1) // 2]:
        if at < row:
            yield at, row
        yield row, row + 1
        at = row + 1
    if at < task.end:
        yield at, task.end
