"""Cutting rows into tasks, a few ahead of the workers, so that later ones have the size that was found to be right.

A plan is what was decided, not what follows from the speed: whoever goes on with it finds the same tasks. It is written
down before its tasks are queued, and queueing the same task again changes nothing. Sizes: modelyard.datasets.sharding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from modelyard.datasets.sharding import Sizing, ranges
from modelyard.jobs.tasks import Shards, TaskSpec
from modelyard.jobs.validation import MOST_SHARDS

TASKS_AHEAD = 4
"""How many tasks a worker wait: enough for those of one round of the leader, few enough to be of the right size."""
DEFAULT_SIZING = Sizing()
_STEADY = 1.25


@dataclass(frozen=True)
class Segment:
    """Units [begin, end), cut into tasks of `size` units, or a little fewer, all alike."""

    begin: int
    end: int
    size: int


@dataclass(frozen=True)
class Plan:
    """Which tasks there are so far. A unit is a row or, where rows are sharded by a key, a shard.

    Attributes:
        rows: of the dataset.
        segments: which follow each other from unit 0 on.
        shard_rows: how many rows each shard has; empty: rows are not sharded.
    """

    rows: int
    segments: tuple[Segment, ...] = ()
    shard_rows: tuple[int, ...] = ()

    @property
    def units(self) -> int:
        """All of them."""
        return len(self.shard_rows) if self.shard_rows else self.rows

    @property
    def planned(self) -> int:
        """How many units have a task."""
        return self.segments[-1].end if self.segments else 0

    @property
    def whole(self) -> bool:
        """Whether all have."""
        return self.planned == self.units

    def tasks(self, after: int = 0) -> Iterator[TaskSpec]:
        """Those of units from `after` on, where all were planned that there were at some time, in order."""
        for segment in self.segments:
            if segment.end > after:
                # A segment that has grown since is of equal tasks: the later ones are cut as the whole is.
                for begin, end in ranges(max(segment.begin, after), segment.end, segment.size):
                    yield from self._task(begin, end)

    def _task(self, begin: int, end: int) -> Iterator[TaskSpec]:
        if not self.shard_rows:
            yield TaskSpec(begin, end)
        elif rows := sum(self.shard_rows[begin:end]):
            yield TaskSpec(0, rows, Shards(begin, end, len(self.shard_rows)))


@dataclass(frozen=True)
class Pace:
    """What sizes follow from; `seconds_per_row`: 0 while it is not known."""

    seconds_per_row: float
    workers: int
    sizing: Sizing = DEFAULT_SIZING

    def rows_a_task(self, rows: int) -> int:
        """How many rows a task gets when so many are left."""
        return self.sizing.rows_a_task(self.seconds_per_row, rows, self.workers)


def default_shards(rows: int, sizing: Sizing = DEFAULT_SIZING) -> int:
    """How many shards of a key there are if the user has not said: as fine as tasks can be, which may have many."""
    return min(max(-(-rows // sizing.probe_rows), 1), MOST_SHARDS)


def missing_tasks(queued: int, workers: int) -> int:
    """How many tasks are to be planned now."""
    return max(TASKS_AHEAD * max(workers, 1) - queued, 0)


def extend(plan: Plan, pace: Pace, tasks: int) -> Plan:
    """The plan with so many tasks more, or about, as long as there are rows; what it had stays as it was."""
    if plan.whole or tasks < 1:
        return plan
    return _extend_by_shards(plan, pace, tasks) if plan.shard_rows else _extend_by_rows(plan, pace, tasks)


def _extend_by_rows(plan: Plan, pace: Pace, tasks: int) -> Plan:
    left = plan.rows - plan.planned
    last = plan.segments[-1] if plan.segments else None
    size = pace.rows_a_task(left)
    if last and size < last.size * _STEADY and last.size < size * _STEADY:
        size = last.size
    begin = plan.planned
    end = begin + size * tasks
    if end + size > plan.rows:
        end = plan.rows
    elif last and last.size == size:
        # Only the last of all segments is evened out: the tasks of this one stay what they were.
        return replace(plan, segments=(*plan.segments[:-1], Segment(last.begin, end, size)))
    return replace(plan, segments=(*plan.segments, Segment(begin, end, size)))


def _extend_by_shards(plan: Plan, pace: Pace, tasks: int) -> Plan:
    left = sum(plan.shard_rows[plan.planned :])
    size = pace.rows_a_task(left)
    segments = list(plan.segments)
    at = plan.planned
    while at < plan.units and len(segments) < len(plan.segments) + tasks:
        end = _shards_of(plan.shard_rows, at, size)
        segments.append(Segment(at, end, end - at))
        at = end
    return replace(plan, segments=tuple(segments))


def _shards_of(shard_rows: tuple[int, ...], begin: int, size: int) -> int:
    """Where the shards end that have so many rows together; there is one at least."""
    end, rows = begin + 1, shard_rows[begin]
    while end < len(shard_rows) and rows + shard_rows[end] <= size:
        rows += shard_rows[end]
        end += 1
    return end
