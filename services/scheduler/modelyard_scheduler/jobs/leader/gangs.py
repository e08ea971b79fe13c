"""The processes of training jobs, as keys in etcd, under the term's fence.

jobs/~{job}@ranks/{job}       deployment.Deployment: the ranks that a job wants, at least so many of them together
jobs/~{job}@control/{job}     of its control process
training/{job}/charter        what these are told
training/{job}/places         of ranks that share a model: how many are placed
training/{job}/formation      train.control.fence.Record: the control process's; the leader writes the first one of a
                              job that goes on from another's checkpoint

All that are the leader's are written together when they are to begin. They are to stop when the charter says so; then
the two wishes are removed, and with them all that was placed. When the job has ended, all of training/{job}/ is: who
writes there compares that the charter is.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass, replace

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Deployment
from modelyard.errors import PreconditionError
from modelyard.etcd import Delete, KeyValue, Put
from modelyard.jobs.gang import Charter, control_of, gang, job_of, ranks_of
from modelyard.jobs.job import Job
from modelyard.jobs.training import TrainingSpec
from modelyard.jobs.training_progress import TrainingReport
from modelyard.jobs.training_report import report_of
from modelyard.train.control.fence import NONE, Record
from modelyard.train.control.messages import Saved
from modelyard.train.position import Position
from modelyard_scheduler.jobs.leader.context import LeaderContext

RANK_BYTES = 1 << 30
"""What a rank needs that says nothing: torch takes half of it."""


@dataclass(frozen=True)
class Gang:
    """What etcd has of the processes of a job.

    Attributes:
        charter: None: they were never begun.
        report: the latest; None: there is none.
        controlled: whether its control process is there.
        saved: its last checkpoint, and those before it that are kept; None: there is none.
        places: for how many ranks there are places, as the control process was told; None: it was not.
    """

    charter: Charter | None = None
    report: TrainingReport | None = None
    controlled: bool = False
    saved: Saved | None = None
    places: int | None = None

    @property
    def spent_s(self) -> float:
        """What all processes that the job ever had have spent on it, as far as is reported."""
        before_s = self.charter.spent_s if self.charter else 0.0
        return before_s + (self.report.compute_s if self.report else 0.0)

    @property
    def trains(self) -> bool:
        """Whether somebody is there who has something to save."""
        return self.controlled or bool(self.report and self.report.progress.members)


class Gangs:
    """Those of one term. Methods raise UnavailableError while etcd is away, AbortedError when the term is over."""

    def __init__(self, context: LeaderContext) -> None:
        self._context = context
        self._wishing: set[str] | None = None

    async def read(self, job: str) -> Gang:
        """What there is."""
        found = (await self._context.backends.etcd.list(keys.training(job))).items
        charter, report = found.get(keys.training_charter(job)), found.get(keys.training_report(job))
        return Gang(
            codec.understood(_charter, charter.key, charter.value) if charter else None,
            codec.understood(report_of, report.key, report.value) if report else None,
            keys.training_control(job) in found,
            _saved(found.get(keys.training_formation(job))),
            _places(found.get(keys.training_places(job))),
        )

    async def launch(self, job: Job, before: Charter | None) -> None:
        """Have them begin, from the job's last checkpoint; call it when none of those of before is there any more.

        Args:
            job: whose.
            before: what those were told; None: there were none.
        """
        secret = before.secret if before else secrets.token_hex(16)
        charter = Charter(job.id, job.tenant, _spec(job), secret, spent_s=job.usage.compute_s)
        wishes = gang(charter, _needs(charter.spec), self._context.clock())
        await self._context.commit(
            Put(keys.training_charter(job.id), codec.encode(charter)),
            Delete(keys.training_report(job.id)),
            Delete(keys.training_places(job.id)),
            *await self._formation(job),
            *(Put(_key(wish, job.id), codec.encode(wish)) for wish in wishes),
        )
        if self._wishing is not None:
            self._wishing.add(job.id)

    async def _formation(self, job: Job) -> list[Put]:
        """The first one, of a job that is to go on from a checkpoint that is not known there."""
        if job.checkpoint is None or await self._context.backends.etcd.get(keys.training_formation(job.id)):
            return []
        position = Position(job.checkpoint.step, job.checkpoint.epoch, job.checkpoint.offset)
        first = Record(replace(NONE, checkpoint=Saved(position, job.checkpoint.digest)))
        return [Put(keys.training_formation(job.id), codec.encode(first))]

    async def tell_places(self, job: str, places: int) -> None:
        """Have the control process know for how many ranks there are places: it need not wait for others."""
        await self._context.commit(Put(keys.training_places(job), codec.encode(places)))

    async def stop(self, charter: Charter, reason: str) -> None:
        """Have them save what there is, and end."""
        await self._context.commit(Put(keys.training_charter(charter.job), codec.encode(replace(charter, stop=reason))))

    async def withdraw(self, job: str) -> None:
        """Have what is placed for them go, whatever it does."""
        await self._context.commit(*_wishes_gone(job))
        if self._wishing is not None:
            self._wishing.discard(job)

    async def forget(self, job: str) -> None:
        """Remove all that there is of a job."""
        await self._context.commit(*_wishes_gone(job), Delete(keys.training(job), prefix=True))
        if self._wishing is not None:
            self._wishing.discard(job)

    async def jobs(self) -> list[str]:
        """Those that something is written of below training/."""
        found = await self._context.backends.etcd.keys(keys.TRAINING)
        return sorted({key.removeprefix(keys.TRAINING).partition("/")[0] for key in found})

    async def sweep(self, active: Collection[str]) -> None:
        """Withdraw those of jobs that nobody looks after. One that comes back begins again, from its checkpoint."""
        if self._wishing is None:
            listed = await self._context.backends.etcd.keys(keys.GANGS)
            self._wishing = {key.rpartition("/")[2] for key in listed}
        for job in sorted(self._wishing - set(active)):
            await self._context.commit(*_wishes_gone(job), Delete(keys.training_charter(job)))
            self._wishing.discard(job)


def _charter(data: bytes) -> Charter:
    return codec.decode(Charter, data)


def _places(found: KeyValue | None) -> int | None:
    return codec.understood(lambda data: codec.decode(int, data), found.key, found.value) if found else None


def _saved(formation: KeyValue | None) -> Saved | None:
    if formation is None:
        return None
    record = codec.understood(lambda data: codec.decode(Record, data), formation.key, formation.value)
    return record.formation.checkpoint if record else None


def _spec(job: Job) -> TrainingSpec:
    if job.spec.training is None:
        raise PreconditionError(f"job {job.id}: expected one that trains a model")
    return job.spec.training


def _needs(spec: TrainingSpec) -> Resources:
    """Of a rank."""
    return replace(spec.resources, memory_bytes=spec.resources.memory_bytes or RANK_BYTES)


def _key(wish: Deployment, job: str) -> str:
    return keys.job(wish.model, wish.version, job)


def _wishes_gone(job: str) -> list[Delete]:
    return [Delete(keys.job(*name, job)) for name in (ranks_of(job), control_of(job))]


def is_of_gang(key: str) -> bool:
    """Whether a wish is one of these."""
    return bool(job_of(key.removeprefix(keys.JOBS)))
