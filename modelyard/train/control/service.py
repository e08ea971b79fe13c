"""Where the members of a job connect: what they say goes to the membership, what it decides to them."""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import time
from collections.abc import Iterable
from dataclasses import replace

from modelyard.errors import PASSING, InvalidInputError
from modelyard.train.control.admission import Admission
from modelyard.train.control.conclusion import RETRY_S, conclude
from modelyard.train.control.connection import Connection
from modelyard.train.control.decision import Order
from modelyard.train.control.ending import FINISHED, Ending
from modelyard.train.control.envelopes import Message
from modelyard.train.control.fence import Fence, Record
from modelyard.train.control.group import Stage
from modelyard.train.control.members import Members
from modelyard.train.control.messages import (
    Broken,
    Committed,
    Evaluated,
    Failed,
    Finished,
    Formed,
    Healing,
    Hello,
    Left,
    Saved,
    Unsaved,
)
from modelyard.train.control.progress import Progress, State
from modelyard.train.control.waiting import Waits

log = logging.getLogger(__name__)


class Service:
    """Serves the members of one job until it has ended.

    Attributes:
        ended: set when the job has ended, and every member has finished or is gone.
    """

    def __init__(self, admission: Admission, membership: Members, fence: Fence, progress: Progress) -> None:
        self._admission = admission
        self._membership = membership
        self._fence = fence
        self._progress = progress
        self._open: set[Connection] = set()
        self._members: dict[str, Connection] = {}
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._ending = Ending(membership, self._members, lambda: progress.saved.position.step if progress.saved else -1)
        self.ended = self._ending.reached

    async def start(self, listener: socket.socket) -> None:
        """Take connections on a socket that is bound."""
        self._server = await asyncio.get_running_loop().create_server(lambda: self._accept().frames, sock=listener)

    async def run(self) -> None:
        """Form, and form anew, until cancelled.

        Raises:
            DeposedError: another control process has taken the place of this one.
        """
        while True:
            self._changed.clear()
            wake_s = await self._decide()
            self._report()
            timeout_s = None if wake_s == math.inf else max(0.0, wake_s - time.monotonic())
            try:
                async with asyncio.timeout(timeout_s):
                    await self._changed.wait()
            except TimeoutError:
                continue

    def stop(self, reason: str, *, save: bool = True) -> None:
        """End the job: tell all members, now or when they come."""
        self._ending.stop(reason, save=save)
        self._changed.set()

    def place(self, ranks: int | None) -> None:
        """There are places for so many ranks; see Members."""
        self._membership.places = ranks
        self._changed.set()

    @property
    def stopped(self) -> bool:
        """Whether the job was stopped, and has ended by that alone."""
        ends = self._progress.finished or self._progress.failed
        return self.ended.is_set() and self._ending.stopping is not None and not ends

    def dismiss(self) -> None:
        """Let those members go that wait until the end of the job is written down: it is."""
        self._ending.dismiss()

    async def close(self) -> None:
        """Take no more connections and close those that are open: members train on without."""
        if self._server is not None:
            self._server.close()
        waits = [connection.frames.closed for connection in self._open]
        for connection in list(self._open):
            connection.frames.close("the control process ends")
        if waits:
            await asyncio.wait(waits)

    async def conclude(self) -> None:
        """Note the end in etcd; see modelyard.train.control.conclusion. DeposedError: another one is in its place."""
        await conclude(self._fence, self._ending, self._progress, self._admission)

    async def _decide(self) -> float:
        """Have the membership decide, and do it; return when that is due again."""
        decision = self._membership.decide(time.monotonic())
        self._send(decision.orders)
        if decision.proposal is None:
            return min(decision.wake_s, await self._note_checkpoint())
        formation = replace(decision.proposal, checkpoint=self._progress.saved)
        try:
            written = await self._fence.write(Record(formation, self._admission.agreement))
        except PASSING as error:
            log.warning("formation waits for etcd", extra={"formation": formation.number, "reason": str(error)})
            self._membership.postpone(time.monotonic() + RETRY_S)
            return time.monotonic()
        if not written:
            self._membership.postpone(time.monotonic(), self._fence.last.formation.number)
        elif not self._membership.over:
            log.info("formation", extra={"formation": formation.number, "members": ", ".join(formation.members)})
            self._send(self._membership.open(formation, time.monotonic()))
        return time.monotonic()

    async def _note_checkpoint(self) -> float:
        """Have etcd know the last checkpoint, in case all processes die; return when to try again."""
        try:
            await self._fence.note(self._progress.saved)
        except PASSING as error:
            log.warning("checkpoint waits for etcd", extra={"reason": str(error)})
            return time.monotonic() + RETRY_S
        return math.inf

    def _send(self, orders: Iterable[Order]) -> None:
        for member, message in orders:
            if connection := self._members.get(member):
                connection.send(message)

    def _report(self) -> None:
        group = self._membership.group
        seen, lead = self._membership.seen(time.monotonic()), next(iter(group.formation.members), "")
        state = State(group.number, seen, len(self._membership.waiting), group.whole, lead)
        if state != self._progress.state:
            self._progress.take(state)

    # What members do.

    def _accept(self) -> Connection:
        connection = Connection(self._receive, self._closed)
        self._open.add(connection)
        return connection

    def _closed(self, connection: Connection) -> None:
        self._open.discard(connection)
        if self._members.get(connection.name) is connection and not connection.finished:
            log.info("member lost", extra={"member": connection.name, "reason": connection.frames.closed.result()})
            self._lose(connection)
            self._ending.look()

    def _lose(self, connection: Connection) -> None:
        held = self._membership.group.stages.get(connection.name) in {Stage.FORMING, Stage.WHOLE}
        del self._members[connection.name]
        if connection.name in self._membership.connected:
            self._membership.lose(connection.name, time.monotonic())
        self._ending.lose(connection.name, held=held)
        self._changed.set()

    def _receive(self, connection: Connection, message: Message) -> None:
        if isinstance(message, Hello):
            self._greet(connection, message)
        elif connection.hello is None:
            raise InvalidInputError(f"expected a hello, got {type(message).__name__}")
        else:
            self._take(connection, message)
        self._changed.set()

    def _greet(self, connection: Connection, hello: Hello) -> None:
        if connection.hello is not None:
            raise InvalidInputError("expected one hello on a connection, got a second one")
        if refusal := self._admission.refusal(hello):
            connection.refuse(refusal)
            return
        if before := self._members.get(hello.member):
            before.end("it came on another connection")
            self._lose(before)
        connection.accept(hello)
        self._members[hello.member] = connection
        if hello.agreement:  # else nobody need make room for it
            self._membership.join(hello, time.monotonic())
        log.info("member", extra={"member": hello.member, "formation": hello.formation, "step": hello.step})
        self._ending.greet(connection, whole=hello.whole)

    def _take(self, connection: Connection, message: Message) -> None:
        member = connection.name
        match message:
            case Formed() | Healing():
                self._membership.take(member, message, time.monotonic())
            case Left() | Broken():
                self._note_parted(connection, message)
            case Saved():
                if message.instead or self._membership.leads(member) or member == self._ending.keeper:
                    self._progress.take(message)
            case Unsaved() if member == self._ending.keeper:
                self._ending.tried = message.step
                self._progress.take(message)
            case Committed() | Evaluated() | Unsaved() | Waits():
                if self._membership.leads(member):
                    self._progress.take(message)
            case Finished():
                self._note_finished(connection, message)
            case Failed():
                connection.finished = True
                self._progress.take(message)
                self.stop(f"{member} failed: {message.reason}", save=False)
            case _:
                raise InvalidInputError(f"expected what members say, got {type(message).__name__}")

    def _note_parted(self, connection: Connection, message: Left | Broken) -> None:
        if isinstance(message, Broken):
            log.warning("group dropped", extra={"member": connection.name, "reason": message.reason})
        self._membership.take(connection.name, message, time.monotonic())
        self._ending.part(connection.name, message.formation)
        if self._progress.finished:
            connection.send(FINISHED)

    def _note_finished(self, connection: Connection, message: Finished) -> None:
        connection.finished = True
        self._progress.take(message)
        self._membership.take(connection.name, message, time.monotonic())
        self._ending.part(connection.name, self._membership.group.number)
        self._ending.finish()
