"""Messages over a plain TCP connection, each with its length before it: what the execute stream goes over.

A frame is four bytes, big-endian, that say how many follow, and those. gRPC would do it too, but wakes a thread of its
own for each message: a ping-pong costs 17 µs here, 120-200 µs there (docs/performance.md).

An empty frame says "I am still here". Each end sends one every BEAT_S, and takes the other for stopped after some beats
of silence: TCP itself notices a peer that was stopped, or cut off, after minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from modelyard.rpc.channel import MAX_MESSAGE_BYTES

Buffer = bytes | memoryview
BEAT_S = 1.0
SILENT_BEATS = 2
"""A peer that was not heard in so many beats is taken for stopped: after two or three seconds."""
MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + (64 << 10)
BUFFER_BYTES = 64 << 10
"""Frames that are longer are received into memory of their own, and not copied."""
JOINED_BYTES = 16 << 10
"""Pieces of shorter frames are joined before they are written."""
FLUSH_S = 0.001
"""How often it is looked whether all has been written, by who has to know."""
_LENGTH_BYTES = 4


class Frames(asyncio.BufferedProtocol):
    """One end of a connection. A protocol of asyncio: what comes is handed on at once, without a task in between.

    Attributes:
        closed: done when the connection is closed, by either side; its result says why, if there is something to say.
        max_bytes: no frame that comes may be longer.
    """

    def __init__(
        self,
        receive: Callable[[Buffer], None],
        *,
        on_read: Callable[[], None] = lambda: None,
        on_writable: Callable[[], None] = lambda: None,
        max_bytes: int = MAX_FRAME_BYTES,
        silent_beats: int = SILENT_BEATS,
    ) -> None:
        """Be handed to create_connection or create_server.

        Args:
            receive: gets every frame that is not empty, until the connection is closed.
            on_read: called when all frames have been handed on that had come.
            on_writable: called when `writable` has become true again.
            max_bytes: the attribute.
            silent_beats: after how many beats without a byte the peer is taken for stopped.
        """
        self._receive = receive
        self._on_read = on_read
        self._on_writable = on_writable
        self.max_bytes = max_bytes
        self._silent_beats = silent_beats
        self._loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self._transport: asyncio.Transport | None = None
        self._ended = False
        self._paused = False
        self._view = memoryview(b"")
        self._end = 0
        self._large: memoryview | None = None
        self._filled = 0
        self._silence = 0
        self._spoke = False
        self._beat: asyncio.TimerHandle | None = None
        self._reason = ""

    @property
    def writable(self) -> bool:
        """Whether what is sent goes out.

        If not, the connection is closed, or the peer does not keep up, and more would only take memory.
        """
        return not self._paused and self._open() is not None

    def _open(self) -> asyncio.Transport | None:
        """The connection, if it is there and nobody has closed it."""
        if self._transport is None or self._ended or self._transport.is_closing():
            return None
        return self._transport

    def send(self, pieces: Sequence[Buffer]) -> None:
        """Send a frame of these pieces, which must not change any more; nothing if the connection is closed."""
        if (transport := self._open()) is None:
            return
        self._spoke = True
        size = sum(map(len, pieces))
        length = size.to_bytes(_LENGTH_BYTES, "big")
        if size <= JOINED_BYTES:
            transport.write(b"".join((length, *pieces)))
        else:
            transport.writelines((length, *pieces))

    async def flushed(self) -> bool:
        """Return when the kernel has all that was sent, so that it outlives this process; False if it never will."""
        await asyncio.sleep(0)  # an event loop may write what was sent after its turn
        while (transport := self._open()) is not None:
            if not transport.get_write_buffer_size():
                return True
            await asyncio.sleep(FLUSH_S)
        return False

    def close(self, reason: str = "") -> None:
        """Send what is left, say that it was all, then wait for the peer to close too, for `silent_beats` at most.

        What comes meanwhile is read and dropped: a connection that is closed with something unread is reset by TCP, and
        the peer may lose what was sent last.
        """
        self._reason = self._reason or reason
        if (transport := self._open()) is not None:
            self._ended = True
            self._silence = 0
            transport.write_eof()

    def abort(self, reason: str) -> None:
        """Close at once."""
        self._reason = self._reason or reason
        if self._transport is not None:
            self._transport.abort()

    # Of asyncio.BufferedProtocol.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._view = memoryview(bytearray(BUFFER_BYTES))
        self._beat = self._loop.call_later(BEAT_S, self._on_beat)

    def connection_lost(self, error: Exception | None) -> None:
        """It is gone."""
        if self._beat is not None:
            self._beat.cancel()
        self._view, self._large = memoryview(b""), None
        if not self.closed.done():
            self.closed.set_result(self._reason or (str(error) or type(error).__name__ if error else ""))

    def pause_writing(self) -> None:
        """The peer does not keep up."""
        self._paused = True

    def resume_writing(self) -> None:
        """It does again."""
        self._paused = False
        self._on_writable()

    def get_buffer(self, sizehint: int) -> Any:
        """Where the next bytes are to be received into."""
        if self._large is not None:
            return self._large[self._filled :]
        return self._view[self._end :]

    def buffer_updated(self, count: int) -> None:
        """So many bytes have been received."""
        if not self._ended:
            self._silence = 0
        if self._large is None:
            self._end += count
            self._take()
            self._on_read()
            return
        self._filled += count
        if self._filled == len(self._large):
            frame, self._large = self._large, None
            self._hand_on(frame)
            self._on_read()

    def eof_received(self) -> bool:
        """The peer has ended its side: close."""
        return False

    def _take(self) -> None:
        """Hand on the frames in the buffer; of the last one, which is not whole, make room for the rest."""
        view, begin, end = self._view, 0, self._end
        while end - begin >= _LENGTH_BYTES:
            size = int.from_bytes(view[begin : begin + _LENGTH_BYTES], "big")
            start = begin + _LENGTH_BYTES
            if size > self.max_bytes:
                self.abort(f"expected frames of at most {self.max_bytes} bytes, got one of {size}")
                return
            if start + size > end:
                if size > BUFFER_BYTES - _LENGTH_BYTES:
                    self._begin_large(size, view[start:end])
                    return
                break
            begin = start + size
            if size:
                self._hand_on(bytes(view[start:begin]))
        self._end = end - begin
        if begin and self._end:
            view[: self._end] = view[begin:end]

    def _begin_large(self, size: int, begun: memoryview) -> None:
        self._large = memoryview(bytearray(size))
        self._filled = len(begun)
        self._large[: self._filled] = begun
        self._end = 0

    def _hand_on(self, frame: Buffer) -> None:
        if self._open() is not None:
            self._receive(frame)

    def _on_beat(self) -> None:
        """Beats are counted, not seconds: a process that was itself stopped must not blame its peer."""
        self._silence += 1
        if self._silence > self._silent_beats:
            self.abort(f"nothing was heard of it for {self._silent_beats * BEAT_S:g} s")
            return
        if not self._spoke:
            self.send(())
        self._spoke = False
        self._beat = self._loop.call_later(BEAT_S, self._on_beat)
