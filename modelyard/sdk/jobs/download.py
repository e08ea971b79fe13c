"""Fetching a file of results: on from where it broke off, as long as it is the same file."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import hashlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import IO, Any

import grpc.aio

from modelyard.errors import AbortedError, DataLossError, InvalidInputError, ModelyardError
from modelyard.jobs.job import ResultsHeader
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.connection import Connection
from modelyard.sdk.meter import Meter, OnProgress
from modelyard.v1 import jobs_pb2 as pb


class ResultsDownload:
    """One file on its way here; it grows beside its place, under a name that its etag is in."""

    def __init__(
        self, connection: Connection, which: tuple[str, str], path: str | Path, on_progress: OnProgress | None
    ) -> None:
        """`which`: the job's id, and the output or an empty text.

        Raises:
            InvalidInputError: the path is empty, or of a directory.
        """
        if path == "" or Path(path).is_dir():
            raise InvalidInputError(f"path: expected that of a file, got {str(path)!r}")
        self._connection = connection
        self._job, self._output = which
        self._path = Path(path)
        self._on_progress = on_progress
        self._attempts = Attempts(connection.timeout_s)
        self._header: ResultsHeader | None = None
        self._come_bytes = 0

    async def run(self) -> ResultsHeader:
        """Return what the file is once it is at its place.

        Raises:
            DataLossError: other bytes came than were announced.
            ModelyardError: the server's error; an UnavailableError only when no attempt got further in time.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while (header := self._header) is None or self._come_bytes < header.size_bytes:
            try:
                await self._go_on()
            except grpc.aio.AioRpcError as failure:
                await self._recover(self._connection.error_of(failure))
        self._part(header).replace(self._path)
        for stale in self._path.parent.glob(f".{glob.escape(self._path.name)}.*.part"):
            stale.unlink()
        return header

    async def _recover(self, error: ModelyardError) -> None:
        """Wait until it is worth another attempt; raise the error if it is not."""
        if not (isinstance(error, AbortedError) and self._header):
            await asyncio.sleep(self._attempts.delay_s(error))
            return
        self._part(self._header).unlink(missing_ok=True)
        self._header, self._come_bytes = None, 0

    def _part(self, header: ResultsHeader) -> Path:
        content = hashlib.sha256(header.etag.encode()).hexdigest()[:12]
        return self._path.with_name(f".{self._path.name}.{content}.part")

    async def _go_on(self) -> None:
        """One call: from the beginning, which tells what there is, or from where the last one broke off."""
        async with contextlib.aclosing(self._answers()) as answers:
            header = await self._first(answers)
            part = self._part(header)
            there_bytes = part.stat().st_size if part.exists() else 0
            if self._header is None and 0 < there_bytes <= header.size_bytes:
                # What an earlier download has left: the next call goes on from there.
                self._header, self._come_bytes = header, there_bytes
                return
            self._header = header
            meter = Meter("receive", header.size_bytes - self._come_bytes, self._on_progress, self._come_bytes)
            with part.open("r+b" if self._come_bytes else "wb") as out:
                out.seek(self._come_bytes)
                await self._write(answers, out, meter)
        if self._come_bytes != header.size_bytes:
            raise DataLossError(f"{self._path}: expected {header.size_bytes} bytes, got {self._come_bytes}")

    async def _first(self, answers: AsyncGenerator[Any, None]) -> ResultsHeader:
        first = await anext(answers, None)
        if first is None or not first.HasField("header"):
            raise DataLossError(f"{self._path}: expected a header before the results, got none")
        return convert.results_header_from_pb(first.header)

    async def _write(self, answers: AsyncGenerator[Any, None], out: IO[bytes], meter: Meter) -> None:
        async for answer in answers:
            await asyncio.to_thread(out.write, answer.data)
            self._come_bytes += len(answer.data)
            self._attempts.restart()
            meter.add(len(answer.data))

    async def _answers(self) -> AsyncGenerator[Any, None]:
        """The call has no deadline but for each step: how long it takes depends on the line."""
        request = build(
            pb.GetResultsRequest,
            id=self._job,
            output=self._output,
            offset=self._come_bytes,
            etag=self._header.etag if self._header else "",
        )
        connection = self._connection
        call = connection.jobs.GetResults(request, metadata=connection.metadata, wait_for_ready=True)
        try:
            while isinstance(answer := await self._read(call), pb.GetResultsResponse):
                yield answer
        finally:
            call.cancel()

    async def _read(self, call: Any) -> Any:
        async with self._connection.within("the server sent no more results"):
            return await call.read()
