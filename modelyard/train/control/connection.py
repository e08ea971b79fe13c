"""One member's connection to the control process."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from modelyard.errors import InvalidInputError
from modelyard.rpc.frames import Buffer, Frames
from modelyard.train.control.envelopes import Message, packed, unpacked
from modelyard.train.control.messages import Hello, Refused

log = logging.getLogger(__name__)

FIRST_BYTES = 16 << 10
"""Who has not said hello is given no memory for more."""
MAX_BYTES = 1 << 20
HELLO_S = 10.0
SILENT_BEATS = 3
"""A member that was not heard for three or four seconds has stopped."""


class Connection:
    """Messages of one member. It is closed when something comes that is not understood.

    Attributes:
        hello: what it said first; None: nothing yet.
        finished: whether it has said that training has ended.
    """

    def __init__(self, receive: Callable[[Connection, Message], None], on_closed: Callable[[Connection], None]) -> None:
        """Be given connections by a server.

        Args:
            receive: gets each message; may raise InvalidInputError, which ends the connection.
            on_closed: called once, when it is closed.
        """
        self.hello: Hello | None = None
        self.finished = False
        self.frames = Frames(self._receive, max_bytes=FIRST_BYTES, silent_beats=SILENT_BEATS)
        self._take = receive
        self._on_closed = on_closed
        self._patience = asyncio.get_running_loop().call_later(HELLO_S, self._give_up)
        self.frames.closed.add_done_callback(self._closed)

    @property
    def name(self) -> str:
        """Of the member; empty: it has not said it."""
        return self.hello.member if self.hello else ""

    def accept(self, hello: Hello) -> None:
        """Let it talk."""
        self.hello = hello
        self.frames.max_bytes = MAX_BYTES
        self._patience.cancel()

    def send(self, message: Message) -> None:
        """Send a message, if it is still there."""
        self.frames.send((packed(message),))

    def refuse(self, reason: str) -> None:
        """Turn it away."""
        log.warning("member refused", extra={"reason": reason})
        self.send(Refused(reason))
        self.frames.close(reason)

    def end(self, reason: str) -> None:
        """Close it at once."""
        self.frames.abort(reason)

    def _receive(self, frame: Buffer) -> None:
        try:
            self._take(self, unpacked(frame))
        except InvalidInputError as error:
            log.warning("message not understood", extra={"member": self.name, "reason": error.message})
            self.end(error.message)

    def _give_up(self) -> None:
        self.end(f"expected a hello within {HELLO_S:g} s")

    def _closed(self, _: asyncio.Future[str]) -> None:
        self._patience.cancel()
        self._on_closed(self)
