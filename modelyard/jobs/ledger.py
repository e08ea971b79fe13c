"""Counting: what has ended of one job, and what was done for each tenant with each model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from modelyard.jobs.job import UNCOUNTED, Progress, Usage
from modelyard.jobs.planning import Plan
from modelyard.jobs.poison import Step, before
from modelyard.jobs.speed import Cost, Throughput
from modelyard.jobs.tasks import Outcome, TaskSpec
from modelyard.queue.records import Counts, TaskStatus


class Account(NamedTuple):
    """Who uses what; `model`: model@version."""

    tenant: str
    model: str


@dataclass(frozen=True)
class Tally:
    """What has ended of a job, told task by task, each once.

    Attributes:
        retries: attempts that had to be made again.
    """

    done_rows: int = 0
    dead_rows: int = 0
    retries: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: Cost = field(default_factory=Cost)

    def done(self, task: TaskSpec, outcome: Outcome) -> Tally:
        """With a task that has results, or that was replaced."""
        rows = 0 if outcome.parts else task.rows
        return replace(
            self,
            done_rows=self.done_rows + rows,
            usage=added(self.usage, Usage(rows, 1, outcome.seconds)),
            cost=self.cost.observe(rows, outcome.seconds),
        )

    def buried(self, task: TaskSpec) -> Tally:
        """With a task that was given up."""
        return replace(self, dead_rows=self.dead_rows + task.rows)

    def revived(self, task: TaskSpec) -> Tally:
        """With one that was given up and is executed again."""
        return replace(self, dead_rows=self.dead_rows - task.rows)

    def retried(self, attempts: int = 1) -> Tally:
        """With attempts that had to be made again."""
        return replace(self, retries=self.retries + attempts)


def repeated(task: TaskSpec, status: TaskStatus, outcome: Outcome | None, max_attempts: int) -> int:
    """How many attempts had to be made again for a task that has ended as `status` says.

    Args:
        task: which.
        status: of it, which counts what failed, and what was lost with its worker.
        outcome: None: it was given up.
        max_attempts: that a row may have.
    """
    lost = status.failures + status.deaths
    if outcome is None:
        return max(lost - 1, 0)
    # Of a task that is split when it is fetched the queue has counted the last attempt; else that is the one that ended
    # with the split, and its rows are attempted once more as parts.
    splits_late = bool(outcome.parts) and before(task, status.deaths, max_attempts).step is Step.EXECUTE
    return lost + splits_late


def added(one: Usage, other: Usage) -> Usage:
    """Both together."""
    return Usage(one.rows + other.rows, one.tasks + other.tasks, one.compute_s + other.compute_s)


def charged(usage: Mapping[Account, Usage], account: Account, more: Usage) -> dict[Account, Usage]:
    """The usage of all accounts, with more of one."""
    return {**usage, account: added(usage.get(account, Usage()), more)}


def progress(
    plan: Plan | None, tally: Tally, counts: Counts, throughput: Throughput, workers: tuple[str, ...]
) -> Progress:
    """How far a job is.

    Args:
        plan: None: its rows are not counted yet.
        tally: what has ended.
        counts: its tasks, as the queue has them.
        throughput: as it was last observed.
        workers: who executes a task of it now.
    """
    told = Progress(
        rows=plan.rows if plan else UNCOUNTED,
        done_rows=tally.done_rows,
        dead_rows=tally.dead_rows,
        tasks=counts.queued + counts.delayed + counts.in_flight + counts.done + counts.dead,
        queued_tasks=counts.queued + counts.delayed,
        running_tasks=counts.in_flight,
        done_tasks=counts.done,
        retries=tally.retries,
        workers=tuple(sorted(workers)),
        rows_per_s=throughput.rows_per_s,
    )
    return replace(told, estimated_end_s=throughput.estimated_end_s(told.left_rows)) if told.left_rows else told
