"""modelyard.v1.Agent: what the scheduler asks of a worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from modelyard.errors import NotFoundError
from modelyard.names import parse_reference
from modelyard.rpc.interceptor import Context
from modelyard.v1 import agent_pb2 as pb

PIECE_BYTES = 256 << 10
DEFAULT_TAIL_BYTES = 64 << 10


class AgentServicer:
    """The worker's agent over gRPC."""

    def __init__(self, log_directory: Path) -> None:
        self._log_directory = log_directory

    async def ReadInstanceLog(
        self, request: pb.ReadInstanceLogRequest, context: Context
    ) -> AsyncIterator[pb.ReadInstanceLogResponse]:
        """Stream the end of the log of an instance's runner."""
        instance = parse_reference(request.instance)
        path = self._log_directory / f"{instance}.log"
        data = await asyncio.to_thread(_tail, path, request.tail_bytes or DEFAULT_TAIL_BYTES)
        for start in range(0, len(data), PIECE_BYTES):
            yield pb.ReadInstanceLogResponse(data=data[start : start + PIECE_BYTES])


def _tail(path: Path, size_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size_bytes))
            return file.read()
    except FileNotFoundError:
        raise NotFoundError(f"log of {path.stem!r}: nothing was printed on this worker") from None
