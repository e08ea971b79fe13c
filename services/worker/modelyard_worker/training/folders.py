"""Directories that a job's ranks on this worker share: each is there until the job has ended.

The charter of a job is in etcd until then, also while it is paused (modelyard_scheduler.jobs.leader.gangs).
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

from modelyard import keys
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.tasks import stop_on_failure

log = logging.getLogger(__name__)
LOOK_S = 5.0


class JobFolders:
    """Those of one worker, below one directory, each by its job's name."""

    def __init__(self, directory: Path, etcd: Etcd, in_use: Callable[[str], bool]) -> None:
        """`in_use`: whether a process of a job is on this worker."""
        self._directory = directory
        self._etcd = etcd
        self._in_use = in_use
        self._looking: asyncio.Future[None] | None = None

    def folder(self, job: str) -> Path:
        """Return where a job's directory is, or can be made: from now on it is looked whether the job has ended."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
            self._looking.add_done_callback(stop_on_failure)
        return self._directory / job

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            for path in await asyncio.to_thread(self._there):
                await self._remove_if_over(path)

    def _there(self) -> list[Path]:
        return list(self._directory.iterdir()) if self._directory.is_dir() else []

    async def _remove_if_over(self, path: Path) -> None:
        if self._in_use(path.name):
            return
        try:
            charter = await self._etcd.get(keys.training_charter(path.name))
        except PASSING as error:
            log.info("it is not known whether a job has ended", extra={"job": path.name, "reason": str(error)})
            return
        if charter is None and not self._in_use(path.name):
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
