"""The front door's end of an execute stream, message by message."""

from __future__ import annotations

import asyncio

from modelyard.rpc.frames import Buffer, Frames
from modelyard.v1 import runner_pb2 as pb


class Execution:
    """An execute stream on an instance, perhaps not accepted."""

    def __init__(self) -> None:
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.frames = Frames(self._receive)
        self.frames.closed.add_done_callback(lambda _: self._messages.put_nowait(None))

    def _receive(self, message: Buffer) -> None:
        self._messages.put_nowait(bytes(message))

    @classmethod
    async def begin(cls, port: int, instance: str = "m@1") -> Execution:
        """Connect, and name an instance."""
        stream = cls()
        await asyncio.get_running_loop().create_connection(lambda: stream.frames, "127.0.0.1", port)
        stream.write(pb.ExecuteRequest(instance=instance))
        return stream

    @classmethod
    async def open(cls, port: int, instance: str = "m@1") -> Execution:
        """Connect, and be accepted."""
        stream = await cls.begin(port, instance)
        assert await stream.read() == pb.ExecuteResponse(accepted=True)
        return stream

    def write(self, message: pb.ExecuteRequest) -> None:
        """Send a message."""
        self.frames.send((message.SerializeToString(),))

    async def read(self) -> pb.ExecuteResponse | None:
        """The next message; None when the runner has ended the stream in order.

        Raises:
            ConnectionError: it has closed the connection without a word.
        """
        message = await asyncio.wait_for(self._messages.get(), 30)
        if message is None:
            raise ConnectionError("closed")
        response = pb.ExecuteResponse.FromString(message)
        return None if response.last else response

    async def replies(self) -> list[pb.Reply]:
        """Those of the next message, which there is."""
        message = await self.read()
        assert message is not None
        return list(message.replies)

    def cancel(self) -> None:
        """Break the connection off."""
        self.frames.abort("")
