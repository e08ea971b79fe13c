"""What jobs want loaded, as keys in etcd: see modelyard_scheduler.jobs.demand.

A key is there from a job's PLANNING until 60 s after its end, in the last of which it wishes for no replica any more.
Keys of jobs that nobody looks after go the same way.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from modelyard import codec, keys
from modelyard.catalogue import Version
from modelyard.deployment import Deployment
from modelyard.etcd import Compare, Delete, Put
from modelyard.jobs.job import Job
from modelyard_scheduler.jobs.demand import wish
from modelyard_scheduler.jobs.leader.context import LeaderContext
from modelyard_scheduler.jobs.leader.gangs import is_of_gang
from modelyard_scheduler.publication import published

KEPT_S = 60.0


@dataclass
class _Kept:
    """A key as it was written; `since_s`: when its job was seen to have ended."""

    key: str
    deployment: Deployment | None
    since_s: float | None = None


class Wishes:
    """The wishes of one term. Methods raise UnavailableError while etcd is away, AbortedError when the term is over."""

    def __init__(self, context: LeaderContext) -> None:
        self._context = context
        self._kept: dict[str, _Kept] = {}
        self._begun = False

    async def _begin(self) -> None:
        """Read what earlier terms have written."""
        listing = await self._context.backends.etcd.list(keys.JOBS)
        for key, kv in listing.items.items():
            found = codec.understood(lambda data: codec.decode(Deployment, data), key, kv.value)
            if not is_of_gang(key):
                self._kept.setdefault(key.rpartition("/")[2], _Kept(key, found))
        self._begun = True

    async def want(self, job: Job, version: Version, replicas: int) -> None:
        """Wish for so many workers.

        More are wished for at once, fewer only when it is less than half: others take over what these had begun.

        Raises:
            PreconditionError: the version is deleted.
        """
        kept = self._kept.get(job.id)
        before = kept.deployment.replicas if kept and kept.deployment and kept.since_s is None else 0
        if before // 2 <= replicas <= before:
            return
        made = wish(version, job.tenant, replicas, job.create_time_s)
        conditions = await published(self._context.backends.etcd, version)
        await self._write(job.id, keys.job(made.model, made.version, job.id), made, conditions)

    async def _write(self, job: str, key: str, made: Deployment, conditions: Collection[Compare]) -> None:
        """Nothing is noted where the version has changed meanwhile: then it is asked for and written again."""
        if await self._context.commit(Put(key, codec.encode(made)), conditions=list(conditions)):
            self._kept[job] = _Kept(key, made)

    async def end(self, job: str) -> None:
        """Wish for nothing more: from now on the version may be deleted."""
        kept = self._kept.get(job)
        if kept and kept.since_s is None:
            if kept.deployment and kept.deployment.replicas:
                await self._context.commit(Put(kept.key, codec.encode(replace(kept.deployment, replicas=0))))
            kept.since_s = self._context.elapsed()

    async def sweep(self, active: Collection[str]) -> None:
        """End the wishes of jobs that are not active, and remove those that ended 60 s ago."""
        if not self._begun:
            await self._begin()
        for job, kept in list(self._kept.items()):
            if job in active:
                continue
            await self.end(job)
            if kept.since_s is not None and self._context.elapsed() - kept.since_s >= KEPT_S:
                await self._context.commit(Delete(kept.key))
                del self._kept[job]
