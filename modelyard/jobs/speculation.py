"""Which tasks get a second attempt late in a job, so that one slow or stopped worker does not hold up its end.

As Dean and Ghemawat's backup tasks (MapReduce, OSDI 2004): only when nothing else is left to be begun, only on workers
that would be idle, and the first to finish wins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelyard.jobs.tasks import TaskSpec

SLOWER = 2.0
"""How many times as long as expected a task has to be in flight."""
LEAST_S = 2.0
"""It is not worth it for less."""


@dataclass(frozen=True)
class Running:
    """A task in flight.

    Attributes:
        age_s: since when.
        attempts: that are on; who has two gets no third.
    """

    task: TaskSpec
    age_s: float
    attempts: int = 1


def second_attempts(running: Iterable[Running], seconds_per_row: float, idle: int) -> list[TaskSpec]:
    """The tasks that are to be attempted a second time; call it only when all are planned and none is queued.

    Args:
        running: what is in flight.
        seconds_per_row: as measured; 0: not known, then there are none.
        idle: how many more could be executed now.
    """
    slow = [(_slowness(one, seconds_per_row), one) for one in running if one.attempts == 1]
    slow = [(slowness, one) for slowness, one in slow if slowness >= SLOWER and one.age_s >= LEAST_S]
    slow.sort(key=lambda found: (-found[0], found[1].task.begin))
    return [one.task for _, one in slow[: max(idle, 0)]]


def _slowness(one: Running, seconds_per_row: float) -> float:
    """How many times as long as expected it is in flight."""
    expected_s = one.task.rows * seconds_per_row
    return one.age_s / expected_s if expected_s > 0.0 else 0.0
