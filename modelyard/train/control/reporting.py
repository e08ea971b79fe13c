"""How a job goes, written to etcd for the scheduler: keys.training_report(job), fenced as formations are."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from modelyard import codec, keys
from modelyard.errors import PASSING
from modelyard.etcd import Compare, Etcd, Put
from modelyard.jobs.training_progress import TrainingReport
from modelyard.jobs.training_report import report_of
from modelyard.train.control.config import Config
from modelyard.train.control.course import Course
from modelyard.train.control.fence import DeposedError
from modelyard.train.control.progress import News

log = logging.getLogger(__name__)
PAUSE_S = 1.0
"""Between two reports at least: etcd writes each to disk."""
LONGEST_PAUSE_S = 10.0
"""Between two at most while there are members, for what these spend."""
RETRY_S = 0.5


async def last_report(etcd: Etcd, job: str) -> TrainingReport:
    """Return what was reported of a job; one without anything where nothing was, or nothing that is understood.

    Raises:
        UnavailableError: etcd does not answer.
    """
    key = keys.training_report(job)
    found = await etcd.get(key)
    read = codec.understood(report_of, key, found.value) if found else None
    return read or TrainingReport()


def is_over(report: TrainingReport) -> bool:
    """Whether it says how the job has ended."""
    return bool(report.finished or report.failed or report.stopped)


class Reporting:
    """Writes reports. A Listener."""

    def __init__(self, etcd: Etcd, conditions: Sequence[Compare], config: Config, before: TrainingReport) -> None:
        """`conditions`: of whatever is written; `before`: what is there."""
        self._etcd = etcd
        self._conditions = conditions
        self._key = keys.training_report(config.job)
        self._course = Course(config, before)
        self._written = before
        self._changed = asyncio.Event()

    async def hear(self, news: News) -> None:
        """See Listener: it is written soon."""
        self._course.take(news)
        self._changed.set()

    async def run(self) -> None:
        """Write what is new, not too often, until cancelled, or until this process may not any more."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LONGEST_PAUSE_S):
                    await self._changed.wait()
            self._changed.clear()
            if not await self._try(self._course.told()):
                return
            await asyncio.sleep(PAUSE_S)

    async def end(self, *, stopped: bool) -> None:
        """Write how the job has ended. Call it when `run` has been cancelled.

        Raises:
            DeposedError: this process may not any more.
        """
        if not await self._try(self._course.told(stopped=stopped)):
            raise DeposedError(f"{self._key} is to be written by another control process")

    async def _try(self, report: TrainingReport) -> bool:
        """Write a report, also if etcd is away for a while; False: this process may not any more."""
        while report != self._written:
            try:
                if not await self._etcd.commit(self._conditions, [Put(self._key, codec.encode(report))]):
                    return False
                self._written = report
            except PASSING as error:
                log.warning("report waits for etcd", extra={"reason": str(error)})
                await asyncio.sleep(RETRY_S)
        return True
