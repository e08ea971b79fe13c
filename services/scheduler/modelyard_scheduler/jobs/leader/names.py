"""The names of what comes out of trainings: reserved before anything is begun.

models/{model}    catalogue.Model: as the registry would register it with the first version, which is made of it
"""

from __future__ import annotations

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model
from modelyard.errors import PermissionDeniedError, PreconditionError, UnavailableError
from modelyard.etcd import Compare, Delete, Put
from modelyard.jobs.job import Job
from modelyard_scheduler.jobs.leader.context import LeaderContext


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
        """Remove a model that was reserved for a job that has ended, unless somebody has made something of it."""
        name = job.spec.model
        found = await self._context.backends.etcd.get(keys.model(name))
        if found and codec.decode(Model, found.value) == _reserved(job):
            unchanged = Compare(keys.model(name), found.mod_revision, "mod")
            unused = Compare(keys.versions(name), 0, prefix=True)
            await self._context.commit(Delete(keys.model(name)), conditions=[unchanged, unused])


def _reserved(job: Job) -> Model:
    """Nothing in it but what is known of the job: by that it is recognised."""
    return Model(job.spec.model, tenant=job.tenant, create_time_s=job.create_time_s, update_time_s=job.create_time_s)


def _check(model: Model, job: Job) -> None:
    if model.tenant != job.tenant:
        raise PermissionDeniedError(f"model {model.name!r}: expected one of tenant {job.tenant!r}, it is another's")
    if model.state is Lifecycle.DELETED:
        raise PreconditionError(f"model {model.name!r}: it is deleted; undelete it first")
