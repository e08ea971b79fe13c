"""Links between processes of a job that can be cut and mended, as a network's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any


class Link:
    """A port that leads to another address. While it is cut nothing passes, and nobody is told.

    Attributes:
        address: host:port, once it is open.
    """

    def __init__(self, target: str) -> None:
        self.address = ""
        self._target = target
        self._whole = asyncio.Event()
        self._whole.set()
        self._server: asyncio.Server | None = None
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> Link:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    def cut(self) -> None:
        """From now on what is sent waits, in both directions."""
        self._whole.clear()

    def mend(self) -> None:
        """What was sent meanwhile arrives."""
        self._whole.set()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        self.mend()
        await asyncio.gather(*self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._begin(self._lead(reader, writer))

    async def _lead(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        host, _, port = self._target.rpartition(":")
        await self._whole.wait()
        with contextlib.suppress(OSError):  # nobody is there
            there, back = await asyncio.open_connection(host, int(port))
            self._ends.add(back)
            self._begin(self._carry(there, writer))
            await self._carry(reader, back)
        writer.transport.abort()

    def _begin(self, way: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(way)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):  # one end has gone: so has the other, then
            while data := await source.read(1 << 16):
                await self._whole.wait()
                sink.write(data)
                await sink.drain()
        await self._whole.wait()
        sink.transport.abort()
