"""Who watches a job."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from modelyard.jobs.job import EventKind, JobEvent
from tests.unit.scheduler.jobs.accepted import Desk
from tests.waiting import eventually


class Watcher:
    """What a watch has told, read in the background."""

    def __init__(self, desk: Desk, job: str, after: int = 0) -> None:
        self.events: list[JobEvent] = []
        self.reading = asyncio.ensure_future(self._read(desk, job, after))

    async def _read(self, desk: Desk, job: str, after: int) -> None:
        async with contextlib.aclosing(desk.watching.watch(job, after)) as events:
            async for event in events:
                self.events.append(event)

    @property
    def told(self) -> list[Any]:
        """Kinds, with the state or the task."""
        return [(e.kind.value, e.job.state.value if e.job else e.task and e.task.id) for e in self.events]

    async def has(self, kind: EventKind, times: int = 1) -> None:
        await eventually(lambda: self.reading.done() or sum(event.kind is kind for event in self.events) >= times)
        assert sum(event.kind is kind for event in self.events) >= times
