"""What collection of garbage spares for a job, until it is forgotten.

holds/jobs/{job}/input/dataset    catalogue.Hold: the manifests of its datasets, and of its code
holds/jobs/{job}/input/index      of where the blocks of its dataset begin
holds/jobs/{job}/checkpoints      of a training: those that it can go on from; of one that has ended, the last
holds/jobs/{job}/results/{part}   of pieces of its results, and of its outcomes once they are stored; `part` is a hash
                                  of them, so that to hold the same again changes nothing

Whoever stored these bytes holds them for a day, as uploads that are called as the job is, or begin with its name and a
dot, so that they are never without a hold in between. Once a job is settled all that it needs is held for it, nobody
stores anything for it any more, and these are let go. Of a checkpoint they are in the moment in which a later one is
held: what is not among those that are kept is garbage then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence

from modelyard import codec, keys
from modelyard.catalogue import Hold
from modelyard.etcd import Delete, Put
from modelyard.jobs.checkpoints import step_of, uploads_of
from modelyard.jobs.job import Job
from modelyard.marks import mark, parts
from modelyard_scheduler.jobs.leader.context import LeaderContext

_OWNER = "jobs/"
_DELETES = 100
"""Keys a transaction: etcd takes 128."""


class JobHolds:
    """Holds for jobs, under the term's fence. Every method raises UnavailableError while etcd is away."""

    def __init__(self, context: LeaderContext) -> None:
        self._context = context

    async def hold_input(self, job: Job) -> None:
        """Hold what is read for as long as there can be something to do."""
        manifests = tuple(dict.fromkeys(artifact.manifest_digest for artifact in job.spec.artifacts))
        index = job.found.index if job.found else None
        if manifests:
            hold = Hold(manifests=manifests, tenant=job.tenant)
            await self._context.commit(Put(_key(job.id, "input/dataset"), codec.encode(hold)))
        if index:
            hold = Hold(chunks=tuple(map(mark, index.chunks)), tenant=job.tenant)
            await self._context.commit(Put(_key(job.id, "input/index"), codec.encode(hold)))

    async def is_submitted(self, job: Job) -> bool:
        """Whether what it reads is held since it was submitted, and so is there: what is not must not be held."""
        owner = keys.hold(keys.upload_owner(job.tenant, job.id))
        return any(key.removeprefix(owner)[:1] in {"", "/"} for key in await self._context.backends.etcd.keys(owner))

    async def hold_results(self, job: Job, chunks: Collection[str]) -> None:
        """Hold pieces of results beside those that are held already."""
        for put in _parts(job, chunks):
            await self._context.commit(put)

    async def hold_final(self, job: Job, chunks: Collection[str]) -> None:
        """Hold these chunks as all that there is of results."""
        parts = list(_parts(job, chunks))
        for put in parts:
            await self._context.commit(put)
        past = set(await self._context.backends.etcd.keys(_key(job.id, "results/"))) - {put.key for put in parts}
        for key in sorted(past):
            await self._context.commit(Delete(key))

    async def hold_checkpoints(self, job: Job, names: Sequence[str], step: int) -> None:
        """Hold these as all that there is of checkpoints, and let go uploads of older ones.

        Args:
            job: whose.
            names: their manifests' digests, the newest first; each is held as an upload, or by this.
            step: of the newest. Whatever is being stored has at least as many.
        """
        hold = Hold(manifests=tuple(names), tenant=job.tenant)
        owner = keys.hold(keys.upload_owner(job.tenant, uploads_of(job.id)))
        uploads = await self._context.backends.etcd.keys(f"{owner}-")
        old = [Delete(key) for key in uploads if _is_older(job, key, step)]
        await self._context.commit(Put(keys.hold(keys.checkpoints_owner(job.id)), codec.encode(hold)), *old[:_DELETES])
        for start in range(_DELETES, len(old), _DELETES):
            await self._context.commit(*old[start : start + _DELETES])

    async def release_uploads(self, job: Job) -> None:
        """Let go what was held as uploads. Call it when nothing of the job is executed, before anything is again."""
        owner = keys.hold(keys.upload_owner(job.tenant, job.id))
        await self._context.commit(*(Delete(f"{owner}{end}", prefix=True) for end in "/."))

    async def jobs(self) -> list[str]:
        """Those that something is held for."""
        found = await self._context.backends.etcd.keys(keys.hold(_OWNER))
        return sorted({key.removeprefix(keys.hold(_OWNER)).partition("/")[0] for key in found})

    async def release(self, job: str) -> None:
        """Let go everything."""
        await self._context.commit(Delete(_key(job, ""), prefix=True))


def _key(job: str, name: str) -> str:
    return keys.hold(f"{_OWNER}{job}/{name}")


def _is_older(job: Job, key: str, step: int) -> bool:
    """Whether it holds an upload of a checkpoint of fewer steps."""
    found = step_of(job.id, key.removeprefix(keys.hold(keys.upload_owner(job.tenant, ""))).partition("/")[0])
    return found is not None and found < step


def _parts(job: Job, chunks: Collection[str]) -> Iterator[Put]:
    for marks in parts(chunks):
        record = codec.encode(Hold(chunks=marks, tenant=job.tenant))
        yield Put(_key(job.id, f"results/{hashlib.blake2b(record, digest_size=8).hexdigest()}"), record)
