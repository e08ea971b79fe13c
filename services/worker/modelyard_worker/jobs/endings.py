"""What the queue is told of a claim when the work on it has ended: said until it is heard, whoever is away."""

from __future__ import annotations

import asyncio
import logging

from modelyard import codec
from modelyard.errors import PASSING
from modelyard.jobs.poison import Step, Verdict, after, halves, killed
from modelyard.jobs.tasks import Outcome, TaskSpec, check_parts
from modelyard.queue import Claim, ClaimQueue, bounded
from modelyard.queue.records import MAX_RESULT_BYTES
from modelyard_worker.jobs.assignment import Executed, Failed, Lost
from modelyard_worker.jobs.patience import answered
from modelyard_worker.jobs.usage import Usage

log = logging.getLogger(__name__)

HAND_BACK_S = 2.0
STALE = "stale"


class Endings:
    """Ends claims of a worker. Each method returns the outcome that is counted; "stale": nothing was changed."""

    def __init__(self, worker: str, queue: ClaimQueue, usage: Usage) -> None:
        self._worker = worker
        self._queue = queue
        self._usage = usage

    async def executed(self, claim: Claim, task: TaskSpec, done: Executed) -> str:
        """All rows have their results."""
        result = codec.encode(Outcome(done.seconds, self._worker, done.pieces))
        if len(result) > MAX_RESULT_BYTES:
            reason = f"its results have too many chunks to be named in {MAX_RESULT_BYTES} bytes"
            fewer = Verdict(Step.SPLIT, halves(task)) if task.rows > 1 else Verdict(Step.BURY)
            return await self.resolve(claim, task, fewer, reason, done.seconds)
        if not await self._finish(claim, result):
            return STALE
        self._usage.executed(claim, task.rows, done.seconds)
        return "done"

    async def failed(self, claim: Claim, task: TaskSpec, failed: Failed, max_attempts: int) -> str:
        """It failed: it is tried again, split or buried."""
        verdict = after(task, claim.failures, max_attempts, failed.at_fault, permanent=failed.permanent)
        return await self.resolve(claim, task, verdict, failed.reason, failed.seconds)

    async def resolve(self, claim: Claim, task: TaskSpec, verdict: Verdict, reason: str, seconds: float = 0.0) -> str:
        """Do what a verdict other than EXECUTE says, with the reason; `seconds`: that the runner spent on it."""
        reason = bounded(reason)  # a model's message may have any length
        log.info("task failed", extra={**facts(claim), "step": verdict.step.name, "reason": reason})
        if verdict.step is not Step.SPLIT:
            retryable = verdict.step is Step.RETRY
            return (await answered(lambda: self._queue.fail(claim, reason, retryable=retryable))).ending
        check_parts(task, verdict.parts)
        outcome = Outcome(seconds, self._worker, parts=verdict.parts, reason=reason)
        return "split" if await self._finish(claim, codec.encode(outcome)) else STALE

    async def lost(self, claim: Claim, task: TaskSpec, lost: Lost) -> str:
        """Whatever executed it has died, perhaps of it: what may have been executing is set apart, if that is known."""
        verdict = killed(task, lost.begin, lost.end)
        if verdict.step is Step.SPLIT:
            return await self.resolve(claim, task, verdict, lost.reason)
        log.warning("task lost", extra={**facts(claim), "reason": bounded(lost.reason)})
        return "lost" if await answered(lambda: self._queue.lost(claim)) else STALE

    async def released(self, claim: Claim, reason: str) -> str:
        """It could not be worked on; nothing is wrong with it."""
        log.info("task released", extra={**facts(claim), "reason": bounded(reason)})
        return "released" if await answered(lambda: self._queue.release(claim)) else STALE

    async def given_up(self, claim: Claim, reason: str) -> str:
        """Something went wrong that nobody foresaw: it is tried again, as often as the job's policy says."""
        return (await answered(lambda: self._queue.fail(claim, reason))).ending

    async def hand_back(self, claim: Claim) -> str:
        """Release it at once; with Redis away it is left to its lease."""
        try:
            async with asyncio.timeout(HAND_BACK_S):
                return "released" if await self._queue.release(claim) else STALE
        except (TimeoutError, *PASSING) as error:
            log.warning("task left to its lease", extra={**facts(claim), "reason": str(error)})
            return "lost"

    async def _finish(self, claim: Claim, result: bytes) -> bool:
        return await answered(lambda: self._queue.finish(claim, result))


def facts(claim: Claim) -> dict[str, object]:
    """What a log says of a claim."""
    return {"job": claim.job, "task": claim.task, "attempt": claim.attempt}
