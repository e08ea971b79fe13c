"""One claim, from its fetch to its end: its rows are executed, and the queue is told what came of that."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from modelyard.errors import InvalidInputError, ModelyardError
from modelyard.jobs.found import Found
from modelyard.jobs.job import Job
from modelyard.jobs.poison import Step, before, cautious_rows
from modelyard.jobs.tasks import TaskSpec
from modelyard.queue import Claim, TaskQueue
from modelyard_worker.jobs.assignment import Begin, Executed, Failed, Lost, Undone
from modelyard_worker.jobs.endings import STALE, Endings, facts
from modelyard_worker.jobs.leases import Lease, Leases
from modelyard_worker.jobs.reader_process import Ending, ReaderLostError
from modelyard_worker.jobs.records import Records
from modelyard_worker.jobs.site import Site
from modelyard_worker.jobs.usage import Usage

log = logging.getLogger(__name__)


class Execution:
    """Works on claims of a worker."""

    def __init__(self, worker: str, queue: TaskQueue, leases: Leases, usage: Usage) -> None:
        self.endings = Endings(worker, queue, usage)
        self._leases = leases
        self._usage = usage
        self._records = Records(queue)

    async def run(self, site: Site, claim: Claim) -> None:
        """Work on a claim to its end; who is cancelled meanwhile hands it back."""
        clock = asyncio.get_running_loop().time
        began_s, outcome = clock(), STALE
        self._usage.began(claim)
        with self._leases.held(Lease(claim, lambda: site.beats)) as lease:
            try:
                outcome = await self._work(site, lease)
            except asyncio.CancelledError:
                outcome = await self.endings.hand_back(claim)
                raise
            finally:
                self._usage.ended(claim, outcome, clock() - began_s)

    async def _work(self, site: Site, lease: Lease) -> str:
        """Work on a claim, and return what became of it. What nobody foresaw is a failure of the attempt."""
        claim, reason = lease.claim, ""
        try:
            return await self._execute(site, lease)
        except ModelyardError as error:
            reason = error.message
        except Exception as error:
            log.exception("unforeseen error", extra=facts(claim))
            reason = f"internal error: {type(error).__name__}; the worker's log has its stack"
        site.pause()
        return await self.endings.given_up(claim, reason)

    async def _execute(self, site: Site, lease: Lease) -> str:
        claim = lease.claim
        async with self._records.of(claim.job) as job:
            if job is None or (found := job.found) is None or job.ended:
                site.pause()
                return await self.endings.released(claim, "its job is gone, has ended, or is not planned")
            task = TaskSpec.parse(claim.task)
            verdict = before(task, claim.deaths, job.spec.max_attempts)
            if verdict.step is not Step.EXECUTE:
                reason = f"whatever executed it was lost, {claim.deaths} times"
                return await self.endings.resolve(claim, task, verdict, reason)
            begin = _begin(site, claim, job, found)
            if begin.cautious_rows:
                await site.left_alone()
            try:
                ending = await _ending(site, lease, begin)
            except ReaderLostError as error:
                return await self._without_reader(site, claim, task, error)
            lease.is_executing = False
            return await self._end(site, claim, task, ending, job.spec.max_attempts)

    async def _without_reader(self, site: Site, claim: Claim, task: TaskSpec, error: ReaderLostError) -> str:
        """The reader died: perhaps of the rows that it read, if it could begin to."""
        site.pause()
        if error.begun:
            return await self.endings.lost(claim, task, Lost(claim.token, error.reason))
        return await self.endings.released(claim, error.reason)

    async def _end(self, site: Site, claim: Claim, task: TaskSpec, ending: Ending | None, max_attempts: int) -> str:
        match ending:
            case Executed():
                site.went_well()
                return await self.endings.executed(claim, task, ending)
            case Failed():
                site.went_well()
                return await self.endings.failed(claim, task, ending, max_attempts)
            case Lost():
                site.has_lost = True
                if ending.stuck:
                    await _kill(site, ending.reason)
                return await self.endings.lost(claim, task, ending)
            case Undone():
                site.pause()
                return await self.endings.released(claim, ending.reason)
        return STALE


def _begin(site: Site, claim: Claim, job: Job, found: Found) -> Begin:
    return Begin(
        token=claim.token,
        job=job.id,
        tenant=job.tenant,
        task=claim.task,
        spec=job.spec.inference,
        found=found,
        target=site.target,
        cautious_rows=cautious(claim),
    )


def cautious(claim: Claim) -> int:
    """As poison.cautious_rows, of the task that is claimed; 0 if that has no name of a task."""
    with contextlib.suppress(InvalidInputError):
        return cautious_rows(TaskSpec.parse(claim.task), claim.deaths)
    return 0


async def _ending(site: Site, lease: Lease, begin: Begin) -> Ending | None:
    """Have the rows executed; None if the claim has become somebody else's meanwhile. ReaderLostError."""
    if lease.is_stale:
        return None
    attempt = asyncio.ensure_future(site.reader.execute(begin))
    lease.on_stale = attempt.cancel
    try:
        return await attempt
    except asyncio.CancelledError:
        if lease.is_stale and not _is_cancelled():
            return None
        raise


def _is_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _kill(site: Site, reason: str) -> None:
    """End a runner that is stuck. Others that are in the same process go with it, and are loaded anew."""
    if site.gone is None:
        others = sorted({*site.runner.instances} - {site.target.instance})
        log.warning("runner killed", extra={"instance": site.target.instance, "others": others, "reason": reason})
        await site.runner.kill()
