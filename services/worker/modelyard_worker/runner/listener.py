"""Where the runner takes execute streams: each is one of an instance, once its first message has named one."""

from __future__ import annotations

import asyncio
import logging

from modelyard.errors import ModelyardError
from modelyard.rpc.frames import MAX_FRAME_BYTES, Buffer, Frames
from modelyard_worker.runner.callstream import CallStream
from modelyard_worker.runner.frames import ACCEPTED, read_instance, refusal
from modelyard_worker.runner.loaded import LoadedModel
from modelyard_worker.runner.models import Models

log = logging.getLogger(__name__)

SILENT_BEATS = 10
"""A front door that was not heard for so many seconds has stopped: its calls leave the queue."""
FIRST_BYTES = 64 << 10
"""The first message names an instance. Who cannot is given no memory for more."""


class ExecuteListener:
    """Listens for the front doors' connections."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._turn = asyncio.Lock()
        self._open: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str) -> int:
        """Listen on any free port of an address, which may be IPv6's in brackets; return the port.

        Raises:
            OSError: it cannot.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: self._accept().frames, host.strip("[]"), 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self, grace_s: float) -> None:
        """Take no more connections; those that are open may send what they have to within `grace_s`."""
        if self._server is not None:
            self._server.close()
        waits = [connection.frames.closed for connection in self._open]
        if waits:
            await asyncio.wait(waits, timeout=grace_s)
        for connection in self._open:
            connection.frames.abort("the runner ends")

    def _accept(self) -> _Connection:
        connection = _Connection(self._models, self._turn)
        self._open.add(connection)
        connection.frames.closed.add_done_callback(lambda _: self._open.discard(connection))
        return connection


class _Connection:
    """A front door's connection: what comes goes to its stream, once it has one."""

    def __init__(self, models: Models, turn: asyncio.Lock) -> None:
        self._models = models
        self._turn = turn
        self._stream: CallStream | None = None
        self.frames = Frames(
            self._receive,
            on_read=self._on_read,
            on_writable=self._on_writable,
            max_bytes=FIRST_BYTES,
            silent_beats=SILENT_BEATS,
        )

    def _receive(self, message: Buffer) -> None:
        try:
            if self._stream is None:
                self._open(self._models.find(read_instance(message)))
            else:
                self._stream.receive(message)
        except ModelyardError as error:
            log.warning("execute stream refused", extra={"reason": error.message})
            self.frames.send((refusal(error),))
            self.frames.close()

    def _open(self, model: LoadedModel) -> None:
        self._stream = stream = CallStream(model, self._turn, self.frames)
        self.frames.max_bytes = MAX_FRAME_BYTES
        self.frames.send((ACCEPTED,))
        model.streams.add()
        model.ended.add_done_callback(stream.end)

        def closed(_: object) -> None:
            model.ended.remove_done_callback(stream.end)
            model.streams.remove()
            stream.cancel()

        self.frames.closed.add_done_callback(closed)

    def _on_read(self) -> None:
        if self._stream is not None:
            self._stream.execute()

    def _on_writable(self) -> None:
        if self._stream is not None:
            self._stream.send_soon()
