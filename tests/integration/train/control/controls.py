"""A control process's service in the process of a test, on a real etcd."""

from __future__ import annotations

import asyncio
import socket
import time

from modelyard import codec, keys
from modelyard.etcd import Etcd
from modelyard.session import Election
from modelyard.train.control.admission import Admission
from modelyard.train.control.fence import Fence, Record
from modelyard.train.control.limits import Limits
from modelyard.train.control.membership import Membership
from modelyard.train.control.progress import News, Progress
from modelyard.train.control.service import Service
from tests.integration.train.control.members import JOB, SECRET, FakeMember

LIMITS = Limits(min_workers=1, max_workers=2, settle_s=0.1)


class Heard:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.news: list[News] = []

    async def hear(self, news: News) -> None:
        self.news.append(news)


class Control:
    """A control process's service in this process."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd
        self.heard = Heard()
        self.address = ""
        self.key = keys.training_control(JOB)

    async def start(self, limits: Limits = LIMITS, store: str = "127.0.0.1:1") -> None:
        term = await Election(self._etcd, self.key, b"a").campaign()
        self.fence = Fence(self._etcd, JOB, term)
        last = await self.fence.read()
        self.membership = Membership(limits, store, last.formation, time.monotonic())
        self.progress = Progress(self.heard, last.formation.checkpoint)
        self.service = Service(Admission(JOB, SECRET), self.membership, self.fence, self.progress)
        listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{listener.getsockname()[1]}"
        await self.service.start(listener)
        self.running = asyncio.create_task(self.service.run())
        self.handing_on = asyncio.create_task(self.progress.run())

    async def close(self) -> None:
        for task in (self.running, self.handing_on):
            task.cancel()
        await asyncio.gather(self.running, self.handing_on, return_exceptions=True)
        await self.service.close()

    async def members(self, *names: str) -> list[FakeMember]:
        """Members that train in a formation of their own."""
        members = [FakeMember(name) for name in names]
        for member in members:
            await member.greet(self.address)
        for member in members:
            await member.form()
        return members


async def recorded(etcd: Etcd) -> Record:
    found = await etcd.get(keys.training_formation(JOB))
    return codec.decode(Record, found.value) if found else Record()
