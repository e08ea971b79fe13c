"""The names of what comes out of trainings: reserved before anything is begun.

models/{model}    catalogue.Model: as the registry would register it with the first version, which is made of it
"""

from __future__ import annotations

from functools import partial

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model
from modelyard.errors import PermissionDeniedError, PreconditionError, UnavailableError
from modelyard.etcd import Compare, Delete, Put
from modelyard.jobs.job import Job
from modelyard_scheduler.jobs.leader.context import LeaderContext

_READ = partial(codec.decode, Model)
PAGE = 200
"""Records that are read at a time."""


class ModelNames:
    """Reserves names, under the term's fence. Methods raise UnavailableError while etcd is away."""

    def __init__(self, context: LeaderContext) -> None:
        self._context = context

    async def reserve(self, job: Job) -> None:
        """Register the model that a job makes a version of, unless there is one.

        Raises:
            PermissionDeniedError: it is another tenant's.
            PreconditionError: it is deleted.
        """
        key = keys.model(job.spec.model)
        found = await self._context.backends.etcd.get(key)
        if found:
            _check(codec.decode(Model, found.value), job)
        elif not await self._context.commit(Put(key, codec.encode(_reserved(job))), conditions=[Compare(key, 0)]):
            raise UnavailableError(f"model {job.spec.model!r}: somebody else has just registered it")

    async def release(self, job: Job) -> None:
        """Remove a model that was reserved for a job that has ended, unless somebody has made something of it.

        If another job is to make a version of it, it is reserved for that one from now on.
        """
        key, name = keys.model(job.spec.model), job.spec.model
        found = await self._context.backends.etcd.get(key)
        if found and codec.understood(_READ, key, found.value) == _reserved(job):
            heir = await self._heir(job)
            unchanged = Compare(key, found.mod_revision, "mod")
            unused = Compare(keys.versions(name), 0, prefix=True)
            change = Put(key, codec.encode(_reserved(heir))) if heir else Delete(key)
            await self._context.commit(change, conditions=[unchanged, unused])

    async def _heir(self, job: Job) -> Job | None:
        """The oldest of the tenant's other jobs that train that model and have not ended."""
        active = [name for name in await self._context.queue.active() if name != job.id]
        found: list[Job] = []
        for at in range(0, len(active), PAGE):
            held = await self._context.records.read_all(active[at : at + PAGE])
            found += [one.job for one in held if _trains_the_same(one.job, job)]
        return min(found, key=lambda one: one.create_time_s, default=None)


def _trains_the_same(other: Job, job: Job) -> bool:
    same = other.spec.training is not None and (other.tenant, other.spec.model) == (job.tenant, job.spec.model)
    return same and not other.ended


def _reserved(job: Job) -> Model:
    """Nothing in it but what is known of the job: by that it is recognised."""
    return Model(job.spec.model, tenant=job.tenant, create_time_s=job.create_time_s, update_time_s=job.create_time_s)


def _check(model: Model, job: Job) -> None:
    if model.tenant != job.tenant:
        raise PermissionDeniedError(f"model {model.name!r}: expected one of tenant {job.tenant!r}, it is another's")
    if model.state is Lifecycle.DELETED:
        raise PreconditionError(f"model {model.name!r}: it is deleted; undelete it first")
