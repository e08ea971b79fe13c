"""Members that speak the protocol and train nothing."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from modelyard.rpc.frames import Buffer, Frames
from modelyard.train.control.envelopes import Message, packed, unpacked
from modelyard.train.control.messages import Formation, Formed, Hello, Leave

T = TypeVar("T", bound=Message)
JOB, SECRET, AGREEMENT = "job-1", "secret", "recipe=a,seed=1"


class FakeMember:
    """One trainer process, as the control process sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.formation: Formation | None = None
        self._came: asyncio.Queue[Message | None] = asyncio.Queue()
        self._frames: Frames | None = None

    @property
    def frames(self) -> Frames:
        assert self._frames is not None
        return self._frames

    async def connect(self, address: str) -> None:
        """Connect, without a word."""
        host, _, port = address.rpartition(":")
        came: asyncio.Queue[Message | None] = asyncio.Queue()
        self._came = came

        def receive(frame: Buffer) -> None:
            came.put_nowait(unpacked(frame))

        self._frames = frames = Frames(receive)
        await asyncio.get_running_loop().create_connection(lambda: frames, host, int(port))
        frames.closed.add_done_callback(lambda _: came.put_nowait(None))

    async def greet(
        self,
        address: str,
        *,
        step: int = -1,
        whole: bool = False,
        job: str = JOB,
        secret: str = SECRET,
        agreement: str = AGREEMENT,
    ) -> None:
        """Connect and say hello."""
        await self.connect(address)
        number = self.formation.number if self.formation else 0
        self.say(Hello(job, self.name, secret, "127.0.0.1", agreement, step, number, whole))

    def say(self, message: Message) -> None:
        self.frames.send((packed(message),))

    async def hear(self, kind: type[T]) -> T:
        """Return the next message, which must be of a kind."""
        message = await self.next()
        assert isinstance(message, kind), f"expected {kind.__name__}, got {message}"
        return message

    async def next(self) -> Message | None:
        """Return the next message; None: the connection is closed."""
        return await asyncio.wait_for(self._came.get(), 30)

    async def heard_end(self) -> None:
        """Return when the connection is closed; nothing may come before."""
        assert await self.next() is None

    @property
    def nothing_heard(self) -> bool:
        return self._came.empty()

    async def form(self) -> Formation:
        """Be told a formation, and say that it is formed."""
        await self.told()
        return self.formed()

    async def told(self) -> Formation:
        """Be told a formation, perhaps after the end of the one before."""
        message = await self.next()
        if message == Leave(self.formation.number if self.formation else 0, at_boundary=False):
            message = await self.next()
        assert isinstance(message, Formation), f"expected a formation, got {message}"
        self.formation = message
        return message

    def formed(self) -> Formation:
        """Say that it is formed."""
        assert self.formation is not None
        self.say(Formed(self.formation.number))
        return self.formation

    def cut(self) -> None:
        """The connection breaks, as when the process is killed."""
        self.frames.abort("cut")
