"""Ports of loopback that nobody else can take."""

from __future__ import annotations

import socket

from modelyard.errors import PreconditionError
from modelyard.local.programs import HOST


class Port:
    """A port that is ours from now until `release`, before, between and after the servers that listen on it.

    A socket that is bound and does not listen keeps the kernel from giving the port to anyone who asks for any port;
    a server of ours still can listen on it, because both sides set SO_REUSEADDR (and front doors SO_REUSEPORT).
    """

    def __init__(self, number: int = 0) -> None:
        """Take the port; 0: any free one.

        Raises:
            PreconditionError: somebody listens on it, or it may not be taken.
        """
        try:
            _bind(number, [socket.SO_REUSEADDR]).close()  # fails where somebody listens, SO_REUSEPORT or not
            self._socket = _bind(number, [socket.SO_REUSEADDR, socket.SO_REUSEPORT])
        except OSError as error:
            raise PreconditionError(f"cannot listen on {HOST}:{number}: {error.strerror}") from error
        self.number: int = self._socket.getsockname()[1]
        self.address = f"{HOST}:{self.number}"

    def release(self) -> None:
        """Let others have the port."""
        self._socket.close()


def preferred(number: int) -> Port:
    """Take this port if it is free, else any."""
    try:
        return Port(number)
    except PreconditionError:
        return Port()


def _bind(number: int, options: list[int]) -> socket.socket:
    taken = socket.socket()
    try:
        for option in options:
            taken.setsockopt(socket.SOL_SOCKET, option, 1)
        taken.bind((HOST, number))
    except OSError:
        taken.close()
        raise
    return taken
