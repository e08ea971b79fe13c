"""modelyard.v1.Agent: what the scheduler asks of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from modelyard.errors import NotFoundError
from modelyard.jobs.gang import job_of
from modelyard.names import parse_reference
from modelyard.rpc.interceptor import Context
from modelyard.v1 import agent_pb2 as pb
from modelyard_worker.logs import RunnerLogs

PIECE_BYTES = 256 << 10
DEFAULT_TAIL_BYTES = 64 << 10


class AgentServicer:
    """The worker's agent over gRPC."""

    def __init__(self, logs: RunnerLogs, runners_of: Callable[[str], Sequence[str]]) -> None:
        """`runners_of` returns the names of the runners that an instance ("model@version") is or was in."""
        self._logs = logs
        self._runners_of = runners_of

    async def ReadInstanceLog(
        self, request: pb.ReadInstanceLogRequest, context: Context
    ) -> AsyncIterator[pb.ReadInstanceLogResponse]:
        """Stream the end of the log of an instance's runner."""
        instance = _checked(request.instance)
        size_bytes = request.tail_bytes or DEFAULT_TAIL_BYTES
        data = await asyncio.to_thread(self._logs.tail, self._runners_of(instance), size_bytes)
        if data is None:
            raise NotFoundError(f"log of {instance!r}: nothing was printed on this worker")
        for start in range(0, len(data), PIECE_BYTES):
            yield pb.ReadInstanceLogResponse(data=data[start : start + PIECE_BYTES])


def _checked(instance: str) -> str:
    """The name of an instance, which becomes that of a file; of a process of a training job, too."""
    if not job_of(instance):
        return str(parse_reference(instance))
    name = parse_reference(job_of(instance))
    return f"{instance.removesuffix(job_of(instance))}{name}"
