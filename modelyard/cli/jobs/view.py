"""The live view of a job: all of its rows, each task that is executed, what went wrong last."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table

from modelyard.cli.jobs import text
from modelyard.cli.output import span, visible
from modelyard.jobs.job import EventKind, Job, JobEvent, Progress

MOST_TASKS = 16
MOST_FAILURES = 4
BAR_WIDTH = 40
TASK_BAR_WIDTH = 20
_BEGUN_AGAIN = {EventKind.TASK_DONE, EventKind.TASK_SPLIT, EventKind.TASK_DEAD, EventKind.TASK_RETRY}


@dataclass(frozen=True)
class Running:
    """A task that a worker has begun with, and when."""

    task: str
    shown: str
    rows: int
    worker: str
    since_s: float


class JobView:
    """What is known of a job by the events that were told. It may be drawn while another thread takes an event."""

    def __init__(self, job: Job, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock`: seconds, from any time on."""
        self.job = job
        self._clock = clock
        self._ahead_s = job.create_time_s - clock()
        self._running: tuple[Running, ...] = ()
        self._failures: deque[str] = deque(maxlen=MOST_FAILURES)

    def take(self, event: JobEvent) -> None:
        """Note an event."""
        # The server's clock, as far as it is known: what it told was not in the future.
        self._ahead_s = max(self._ahead_s, event.time_s - self._clock())
        self.job = event.job or self.job
        if event.kind is EventKind.SNAPSHOT:
            self._running = ()
        elif event.kind is EventKind.TASK_STARTED:
            self._begin(event)
        elif event.kind in _BEGUN_AGAIN or event.kind is EventKind.TASK_RECOVERED:
            self._end(event)
        if line := text.failure(event):
            self._failures.append(line)

    def _begin(self, event: JobEvent) -> None:
        if event.task:
            task = event.task
            rows = task.end - task.begin
            begun = Running(task.id, text.task_rows(task), rows, task.worker, event.time_s)
            self._running = (*self._running, begun)

    def _end(self, event: JobEvent) -> None:
        """A task that has ended is executed by nobody; one that was lost only by that worker not."""
        lost = event.kind is EventKind.TASK_RECOVERED and event.task and event.task.worker
        task = event.task.id if event.task else ""
        self._running = tuple(r for r in self._running if r.task != task or (lost and r.worker != lost))

    @property
    def now_s(self) -> float:
        """The time by the server's clock, in seconds since the epoch."""
        return self._clock() + self._ahead_s

    def draw(self) -> RenderableType:
        """All of it."""
        job, running = self.job, self._running
        head = visible(f"{job.id}  {text.model(job)}  {text.state(job)}")
        parts: list[RenderableType] = [head, self._overall(job.progress)]
        if said := text.course(job.progress, self.now_s) or ("" if running else text.waiting(job)):
            parts.append(said)
        if running:
            parts.append(self._tasks(running, job.progress))
        if (more := job.progress.running_tasks - len(running[:MOST_TASKS])) > 0 and not job.ended:
            parts.append(f"  and {text.count(more, 'task')} more")
        return Group(*parts, *(f"  {visible(line)}" for line in self._failures.copy()))

    def _overall(self, progress: Progress) -> RenderableType:
        grid = Table.grid(padding=(0, 1))
        done = progress.done_rows + progress.dead_rows
        bar = ProgressBar(max(progress.rows, 1), done, BAR_WIDTH, pulse=not (progress.counted or self.job.ended))
        grid.add_row(bar, text.rows(progress))
        return grid

    def _tasks(self, running: tuple[Running, ...], progress: Progress) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        for one in running[:MOST_TASKS]:
            age_s = max(0.0, self.now_s - one.since_s)
            bar = ProgressBar(1.0, _share(one, age_s, progress), TASK_BAR_WIDTH)
            grid.add_row("", bar, one.shown, visible(one.worker), span(age_s))
        return grid


def _share(running: Running, age_s: float, progress: Progress) -> float:
    """How much of a task is done if it is as fast as the others; never all of it."""
    at_a_time = max(progress.running_tasks, 1)
    expected_s = running.rows * at_a_time / progress.rows_per_s if progress.rows_per_s else 0.0
    return min(age_s / expected_s, 0.99) if expected_s else 0.0
