"""A rank's connection to its job's control process, held by a thread of its own, whatever the training thread does.

If it breaks the rank trains on; the connection is made anew, to wherever the control process is by then. After ALONE_S
without one the rank wishes to leave its group at the end of a step, and waits. If that step lasts, the group is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import time
from collections.abc import Callable
from dataclasses import replace
from threading import Event, Thread
from typing import Any

from modelyard import codec
from modelyard.backoff import Backoff
from modelyard.rpc.frames import Buffer, Frames
from modelyard.train.control.messages import ALONE_S, Broken, Envelope, Formation, Formed, Healing, Hello, Left, Saved
from modelyard.train.control.waiting import Waits
from modelyard.train.elastic.group import Group
from modelyard.train.elastic.orders import Orders

log = logging.getLogger(__name__)
CONNECT_S = 3.0
FIRST_RETRY_S = 0.02
LAST_RETRY_S = 1.0
LOST_S = 1.2 * ALONE_S
"""After 1.5 * ALONE_S others may form without those that are alone: these apply no step any more by then."""
LOOK_S = 0.5
AGAIN = SAVED, WAITS, PARTING = "saved", "waits", "parting"
"""What is said again on each connection, in this order."""


class Member:
    """A member of a job. The methods are the training thread's, which they do not block but where they say so.

    Attributes:
        name: of the member.
    """

    def __init__(self, hello: Hello, where: Callable[[], str]) -> None:
        """Be `start`ed.

        Args:
            hello: what it says of itself; step, formation and whole are put in as they are then.
            where: the control process: host:port, or "": unknown. Asked again and again, in the member's thread, which
                it must not block for long.
        """
        self.name = hello.member
        self._hello = hello
        self._where = where
        self._step: Callable[[], int] = lambda: -1
        self._orders = Orders()
        self._loop = asyncio.new_event_loop()
        self._frames: Frames | None = None
        self._kept: dict[str, Envelope] = {}
        self._over = Event()
        self._alone_since_s: float | None = time.monotonic()
        self._patience_s = math.inf
        self._closing = asyncio.Event()
        self._thread = Thread(target=self._run, name="member", daemon=True)

    def start(self, step: Callable[[], int]) -> None:
        """Connect, and stay connected; `step` says how many steps this rank has applied, or -1, in any thread."""
        self._step = step
        self._thread.start()

    def close(self) -> None:
        """Disconnect; returns when the thread has ended. In any thread, also if it is closed already."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()

    # What the training thread is told.

    def next_formation(self) -> Formation:
        """Wait for a formation that this member belongs to, and has not been in yet.

        Raises:
            StoppedError: the job ends.
            RefusedError: the control process will not have this member.
        """
        formation = self._orders.next_formation()
        self._hello = replace(self._hello, formation=formation.number, whole=False)
        return formation

    def check(self) -> None:
        """See whether this member is to go on; StoppedError, RefusedError: it is not."""
        self._orders.check()

    def attend(self, group: Group, alone_s: float = math.inf) -> None:
        """From now on a group is lost as soon as it is to be dropped, perhaps at once; or after so long alone."""
        self._orders.attend(group)
        self._patience_s = alone_s

    @property
    def leaving(self) -> bool:
        """Whether the group is to be left at the end of a step."""
        return self._orders.leaving or self._alone(ALONE_S)

    @property
    def saving(self) -> bool:
        """Whether a checkpoint is wanted at the end of a step."""
        return self._orders.saving

    def keeps(self) -> bool:
        """Of a job that is stopped: wait until it is known whether this member is to save its state; see Orders."""
        return self._orders.keeps(lambda: self._alone(ALONE_S))

    @property
    def connected(self) -> bool:
        """Whether messages are sent."""
        return self._frames is not None

    def _alone(self, patience_s: float) -> bool:
        since_s = self._alone_since_s
        return since_s is not None and time.monotonic() - since_s > patience_s

    # What it tells. What is lost with a connection the next `hello` says again.

    def formed(self) -> None:
        """It is in its formation's group, and healed."""
        self._hello = replace(self._hello, whole=True)
        self.send(Envelope(formed=Formed(self._hello.formation)))

    def healing(self) -> None:
        """The state that its formation needs has come further."""
        self.send(Envelope(healing=Healing(self._hello.formation)))

    def broken(self, reason: str) -> None:
        """It has dropped the group."""
        self._hello = replace(self._hello, whole=False)
        self.send(Envelope(broken=Broken(self._hello.formation, self._step(), reason)))

    def left(self) -> None:
        """It has left the group at the end of a step."""
        self._hello = replace(self._hello, whole=False)
        self.send(Envelope(left=Left(self._hello.formation, self._step())))

    def saved(self, report: Saved) -> None:
        """A checkpoint is whole. In any thread. If all ranks died its steps would be done again, were it not known."""
        self._keep(SAVED, Envelope(saved=report))

    def waits(self, report: Waits) -> None:
        """This rank waits for something, or no more. In any thread."""
        self._keep(WAITS, Envelope(waits=report))

    def _keep(self, name: str, envelope: Envelope) -> None:
        self._kept[name] = envelope
        self.send(envelope)

    def send(self, envelope: Envelope) -> None:
        """Send a message if there is a connection; else nothing."""
        if self.connected:
            self._loop.call_soon_threadsafe(self._send, envelope)

    def later(self, delay_s: float, call: Callable[[], None]) -> None:
        """Call something in the member's thread, if it is still there then."""
        self._loop.call_soon_threadsafe(self._loop.call_later, delay_s, call)

    def part(self, envelope: Envelope) -> None:
        """Say `finished` or `failed`, on every connection that there is, until the control process has told that it
        is written down. In any thread; if there is never one again this does not return.
        """
        self._loop.call_soon_threadsafe(self._begin_parting, envelope)
        self._over.wait()

    # The member's thread.

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._stay_connected())
        finally:
            self._loop.close()

    async def _stay_connected(self) -> None:
        backoff = Backoff(FIRST_RETRY_S, LAST_RETRY_S)
        closing = asyncio.ensure_future(self._closing.wait())
        looking = asyncio.ensure_future(self._look())
        while not closing.done():
            frames = await self._connected(address := self._where())
            if frames is None:
                await asyncio.wait([closing], timeout=backoff.next())
                continue
            backoff.reset()
            await self._until_over(address, [closing, frames.closed])
            await self._disconnected(frames)
        looking.cancel()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            if self._alone(self._patience_s):
                self._orders.give_up("there is no control process")

    async def _until_over(self, address: str, ends: list[asyncio.Future[Any]]) -> None:
        """Return when the connection is to be made anew: it has ended, or another control process has taken over,
        which the one that we have may not know.
        """
        while not any(end.done() for end in ends) and self._where() in {"", address}:
            await asyncio.wait(ends, timeout=LAST_RETRY_S, return_when=asyncio.FIRST_COMPLETED)

    async def _connected(self, address: str) -> Frames | None:
        host, _, port = address.rpartition(":")
        if not host:
            return None
        frames = Frames(self._receive)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._loop.create_connection(lambda: frames, host.strip("[]"), int(port))
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            log.info("no connection to the control process", extra={"reason": str(error) or type(error).__name__})
            return None
        self._frames, self._alone_since_s = frames, None
        self._send(Envelope(hello=replace(self._hello, step=self._step())))
        for name in sorted(self._kept, key=AGAIN.index):
            self._send(self._kept[name])
        return frames

    async def _disconnected(self, frames: Frames) -> None:
        self._frames, self._alone_since_s = None, time.monotonic()
        frames.close()
        reason = await frames.closed
        log.info("the connection to the control process is closed", extra={"reason": reason})

    def _receive(self, frame: Buffer) -> None:
        try:
            message = codec.decode(Envelope, bytes(frame))
        except codec.MalformedError as error:
            log.error("message not understood", extra={"reason": str(error)})
            return
        if message.over is not None:
            self._over.set()
        self._orders.take(message)

    def _send(self, envelope: Envelope) -> None:
        if self._frames is not None:
            self._frames.send((codec.encode(envelope),))

    def _begin_parting(self, envelope: Envelope) -> None:
        if envelope.failed is not None:  # that is heard of whoever has the job's secret
            self._hello = replace(self._hello, agreement="")
        self._kept[PARTING] = envelope
        self._send(envelope)
