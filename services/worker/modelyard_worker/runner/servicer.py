"""modelyard.v1.Runner: calls from the execute stream into the executor, outcomes back onto the stream."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

from modelyard.errors import ModelyardError, NotFoundError
from modelyard.rpc.interceptor import Context
from modelyard.rpc.status import INSTANCE_KEY
from modelyard.v1 import runner_pb2 as pb
from modelyard_worker.runner.executor import Executor, Work


class RunnerServicer:
    """The execute streams of one runner."""

    def __init__(self, executors: dict[str, Executor]) -> None:
        """`executors` by "model@version"."""
        self._executors = executors

    async def Execute(
        self, requests: AsyncIterator[pb.ExecuteRequest], context: Context
    ) -> AsyncIterator[pb.ExecuteResponse]:
        """Execute calls as they come; answer each when it is done, all that are done in one message.

        Raises:
            NotFoundError: the metadata names an instance that this runner does not hold. (Its address may have been
                another runner's before.)
        """
        instance = dict(context.invocation_metadata() or ()).get(INSTANCE_KEY, "")
        executor = self._executors.get(str(instance))
        if executor is None:
            raise NotFoundError(f"instance {str(instance)!r}: not in this runner")
        await context.send_initial_metadata(((INSTANCE_KEY, instance),))  # the front door sends no call before this
        stream = CallStream(executor)
        reading = asyncio.ensure_future(stream.read(requests))
        try:
            while replies := await stream.replies():
                yield pb.ExecuteResponse(replies=replies)
        finally:
            reading.cancel()


class CallStream:
    """The calls of one stream: what is under way, and what is done but not yet sent."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._done: list[pb.Reply] = []
        self._under_way = 0
        self._ended = False
        self._wake = asyncio.Event()

    async def read(self, requests: AsyncIterator[pb.ExecuteRequest]) -> None:
        """Submit every call that comes, until the front door ends its side."""
        try:
            async for request in requests:
                self._under_way += len(request.calls)
                for call in request.calls:
                    self._submit(call)
        finally:
            self._ended = True
            self._wake.set()

    async def replies(self) -> list[pb.Reply]:
        """Wait for replies; empty when the stream has ended and nothing is under way."""
        while not self._done and not (self._ended and self._under_way == 0):
            self._wake.clear()
            await self._wake.wait()
        done, self._done = self._done, []
        return done

    def _submit(self, call: pb.Call) -> None:
        call_id = call.id

        def finish(outcome: bytes | ModelyardError) -> None:
            self._under_way -= 1
            self._done.append(_reply(call_id, outcome))
            self._wake.set()

        expires_s = time.monotonic() + call.timeout_us / 1e6 if call.timeout_us else None
        self._executor.submit(Work(call.request, expires_s, finish))


def _reply(call_id: int, outcome: bytes | ModelyardError) -> pb.Reply:
    if isinstance(outcome, bytes):
        return pb.Reply(id=call_id, response=outcome)
    return pb.Reply(id=call_id, failure=pb.Failure(error=type(outcome).__name__, message=outcome.message))
