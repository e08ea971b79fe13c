"""One loaded instance: its copies and the queue they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from modelyard.catalogue import Signature
from modelyard.deployment import InstanceOptions
from modelyard.errors import ModelyardError
from modelyard.names import ModelVersion
from modelyard_worker.runner.answers import Answers
from modelyard_worker.runner.callqueue import CallQueue
from modelyard_worker.runner.evaluation import Evaluator, Outcome
from modelyard_worker.runner.executor import Executor
from modelyard_worker.runner.requests import Requests
from modelyard_worker.runner.statistics import BatchRecord, Statistics
from modelyard_worker.runner.streams import Streams
from modelyard_worker.runner.work import Work
from modelyard_worker.runtimes import Runtime

__all__ = ["BatchRecord", "LoadedModel", "Observe", "Work"]
Observe = Callable[[BatchRecord], None]


class LoadedModel:
    """Answers calls of one version.

    Attributes:
        streams: front doors' that are open on it.
        ended: done when it has been unloaded.
    """

    def __init__(
        self,
        instance: ModelVersion,
        worker: str,
        copies: Sequence[Runtime],
        options: InstanceOptions,
        observe: Observe | None = None,
    ) -> None:
        """Take calls.

        Args:
            instance: the version.
            worker: named in every response.
            copies: all of the same artifact.
            options: how calls are queued and batched.
            observe: called in an executor's thread for each batch.
        """
        self.instance = instance
        self.options = options
        self.signature: Signature = copies[0].signature
        self.platform = copies[0].platform
        self.statistics = Statistics()
        self.streams = Streams()
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        batched = options.max_batch_size > 0
        answers = Answers(instance.version, worker, batched=batched, labels=copies[0].labels)
        self._calls = CallQueue(instance, Requests(self.signature, batched=batched), options)
        evaluators = [Evaluator(instance, copy, answers) for copy in copies]
        waits = options.max_queue_delay_us > 0
        self._executor = Executor(self._calls, evaluators, self.statistics, observe, waits_for_more=waits)

    @property
    def waiting(self) -> int:
        """How many calls are queued."""
        return len(self._calls)

    def submit(self, work: Work) -> None:
        """Queue a call; its `done` is called in the event loop."""
        self._executor.submit([work])

    def submit_all(self, works: Sequence[Work]) -> None:
        """Queue calls, in their order."""
        self._executor.submit(works)

    def take_turn(self) -> None:
        """Execute in the event loop, now, what would be at the end of this turn of it."""
        self._executor.take_turn()

    def cancel(self, work: Work) -> bool:
        """Take a call out of the queue; it is not done any more. False if it is under way or done already."""
        return self._calls.cancel(work)

    async def infer(self, data: bytes, timeout_s: float | None) -> bytes:
        """Answer a serialized ModelInferRequest with a serialized ModelInferResponse.

        Raises:
            ModelyardError: what became of the call.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        expires_s = None if timeout_s is None else time.monotonic() + timeout_s

        def done(outcome: Outcome) -> None:
            if not answer.cancelled():
                answer.set_result(outcome)

        work = Work(data, expires_s, done)
        self.submit(work)
        try:
            outcome = await answer
        except asyncio.CancelledError:
            self.cancel(work)
            raise
        if isinstance(outcome, ModelyardError):
            raise outcome
        return b"".join(outcome)

    async def close(self) -> None:
        """Take no more calls, finish what is queued, give the memory back."""
        await self._executor.close()
        if not self.ended.done():
            self.ended.set_result(None)
