"""Reading one file of a version: as it comes, and on from there when the stream breaks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import grpc.aio

from modelyard.catalogue import Version
from modelyard.rpc.build import build
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import Connection
from modelyard.v1 import registry_pb2 as pb


class Reading:
    """One file on its way; one piece of it is in memory at a time."""

    def __init__(self, connection: Connection, version: Version, path: str) -> None:
        self._connection = connection
        self._version = version
        self._path = path

    async def run(self, offset: int, length: int | None) -> AsyncGenerator[bytes, None]:
        """Yield the bytes from an offset on, at most `length` of them; None: to the end.

        Raises:
            InvalidInputError: the offset or the length is too large to be told.
            ModelyardError: the registry's error; an UnavailableError only when no attempt got further in time.
        """
        attempts = Attempts(self._connection.timeout_s)
        end = None if length is None else offset + length
        while end is None or offset < end:
            try:
                async with contextlib.aclosing(self._pieces(offset, end)) as pieces:
                    async for data in pieces:
                        offset += len(data)
                        attempts.restart()
                        yield data
            except grpc.aio.AioRpcError as failure:
                error = self._connection.error_of(failure)
            else:
                return
            await asyncio.sleep(attempts.delay_s(error))

    async def _pieces(self, offset: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """One attempt. The call has no deadline but for each step: how long it takes depends on the line."""
        request = build(
            pb.ReadFileRequest,
            model=self._version.model,
            version=self._version.version,
            path=self._path,
            offset=offset,
            length=0 if end is None else end - offset,
        )
        connection = self._connection
        call = connection.registry.ReadFile(request, metadata=connection.metadata, wait_for_ready=True)
        try:
            while (part := await self._read(call)) is not None:
                yield part.data
        finally:
            call.cancel()

    async def _read(self, call: Any) -> pb.ReadFileResponse | None:
        async with self._connection.within("the registry sent no more bytes"):
            part = await call.read()
        return part if isinstance(part, pb.ReadFileResponse) else None
