"""Tasks of jobs for all instances of a worker: one loop fetches, what was fetched is worked on where there is room."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Coroutine
from typing import Any, TypeVar

from modelyard.backoff import Backoff
from modelyard.deployment import Instance
from modelyard.errors import PASSING
from modelyard.metrics import Journal
from modelyard.queue import Claim, TaskQueue
from modelyard.tasks import unless
from modelyard_worker.jobs.assignment import Target
from modelyard_worker.jobs.execution import Execution, cautious
from modelyard_worker.jobs.leases import EXTEND_S, Leases
from modelyard_worker.jobs.reader_process import Reader, ReaderSettings
from modelyard_worker.jobs.site import Runner, Site
from modelyard_worker.jobs.usage import Usage

log = logging.getLogger(__name__)
T = TypeVar("T")

WAIT_S = 5.0
"""So long a ring that was lost can go unnoticed."""
LOOK_S = 1.0
"""So often it is looked whether an instance is free that was silent."""
SOONEST_S = 0.01


class Puller:
    """Pulls tasks for the instances that it is told of."""

    def __init__(
        self,
        worker: str,
        queue: TaskQueue,
        readers: ReaderSettings,
        journal: Journal | None = None,
        extend_s: float = EXTEND_S,
    ) -> None:
        """Pull under a worker's name.

        Args:
            worker: the name.
            queue: of all tasks.
            readers: how reader processes are started.
            journal: where it is counted what becomes of claims.
            extend_s: so often their leases are begun anew.
        """
        self._worker = worker
        self._queue = queue
        self._readers = readers
        self._leases = Leases(worker, queue, extend_s)
        self._execution = Execution(worker, queue, self._leases, Usage(journal or Journal()))
        self._sites: list[Site] = []
        self._left: dict[str, Reader] = {}
        """Of instances whose runner has died, until they are loaded anew: to start one takes as long."""
        self._works: set[asyncio.Future[Any]] = set()
        self._is_draining = False
        self._news = asyncio.Event()
        self.asked: frozenset[str] = frozenset()
        """The models of which a task is waited for just now."""
        self._backoff = Backoff(0.2, 5.0)
        self._away = ""

    def admit(self, instance: Instance, runner: Runner) -> Site:
        """Pull for an instance that is READY from now on, until it is left."""
        target = _target(instance)
        reader = self._left.pop(target.instance, None) or Reader(target.instance, self._readers)
        reader.announce()
        site = Site(target, runner, reader, self._changed)
        self._sites.append(site)
        self._changed(site)
        return site

    def announce(self) -> None:
        """Tell all readers which registries are live now."""
        for site in self._sites:
            site.reader.announce()

    def drain(self) -> None:
        """Fetch nothing any more; what was fetched goes on until its instance is unloaded."""
        self._is_draining = True
        self._news.set()

    async def run(self) -> None:
        """Fetch, and extend what is held, until cancelled."""
        await asyncio.gather(self._pull(), self._leases.run())

    async def _pull(self) -> None:
        while True:
            try:
                await self._pull_once()
                continue
            except PASSING as error:
                self._note_away(error.message)
            except Exception as error:  # a bug of ours takes jobs, not the worker
                log.exception("unforeseen error")
                self._note_away(type(error).__name__)
            await asyncio.sleep(self._backoff.next())

    async def _pull_once(self) -> None:
        """Fetch one task and begin it, or wait until there may be one."""
        self._news.clear()
        models = frozenset(site.target.instance for site in self._free())
        if not models:
            await self._rest(LOOK_S)
            return
        found = await self._queue.fetch(self._worker, sorted(models))
        self._away = ""
        self._backoff.reset()
        if isinstance(found, Claim):
            self._begin(found)
        else:
            await self._wait(models, WAIT_S if found.due_s is None else min(WAIT_S, max(SOONEST_S, found.due_s)))

    def _free(self, model: str = "") -> list[Site]:
        """The instances that a claim can be begun at; `model`: of that one."""
        if self._is_draining:
            return []
        return [site for site in self._sites if site.is_free and model in ("", site.target.instance)]

    def _note_away(self, reason: str) -> None:
        if not self._away:
            log.warning("no tasks are fetched", extra={"reason": reason})
        self._away = reason

    async def _wait(self, models: frozenset[str], wait_s: float) -> None:
        """Wait for a ring, or until an instance is free of a model that is not waited for."""
        self.asked = models
        try:
            if not self._news.is_set():
                await unless(self._news, self._ring(models, wait_s))
        finally:
            self.asked = frozenset()

    async def _ring(self, models: Collection[str], wait_s: float) -> None:
        await self._queue.wait(sorted(models), wait_s)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _changed(self, site: Site) -> None:
        """Look again, for there is room; where it is waited for a task of that model already there is no need to."""
        if site.gone is not None:
            self._forget(site)
        elif site.target.instance not in self.asked:
            self._news.set()

    def _begin(self, claim: Claim) -> None:
        """Work on a claim where the most room is; it is handed back if there is none any more."""
        free = self._free(claim.model)
        if not free:
            self._hold(self._execution.endings.hand_back(claim))
            return
        site = min(free, key=lambda site: len(site.works))
        site.add(self._hold(self._execution.run(site, claim)), cautious=cautious(claim) > 0)

    def _hold(self, work: Coroutine[Any, Any, T]) -> asyncio.Future[T]:
        """Run it; a failure that nobody foresaw is logged, and takes this claim alone."""
        task = asyncio.ensure_future(work)
        self._works.add(task)
        task.add_done_callback(self._let_go)
        return task

    def _let_go(self, work: asyncio.Future[Any]) -> None:
        self._works.discard(work)
        if not work.cancelled() and (error := work.exception()):
            log.error("unforeseen error", exc_info=error)

    def _forget(self, site: Site) -> None:
        if site.gone is not None and site.gone.done():
            self._sites.remove(site)
            self._let_go(site.gone)
            if site.has_lost:
                self._left[site.target.instance] = site.reader


def _target(instance: Instance) -> Target:
    return Target(
        instance=f"{instance.model}@{instance.version}",
        endpoint=instance.execute_endpoint,
        signature=instance.signature,
        max_batch_size=instance.options.max_batch_size,
        copies=instance.options.copies,
    )
