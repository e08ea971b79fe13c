"""The store over which the members of a formation find each other: held here, so that it outlives every rank."""

from __future__ import annotations

import socket
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

TIMEOUT = timedelta(seconds=30)


class Store:
    """A torch.distributed.TCPStore in this process. Each formation uses a PrefixStore of its number in it.

    Attributes:
        port: on which it listens.
    """

    def __init__(self, host: str) -> None:
        """Listen on any free port of an address, which may be IPv6's in brackets.

        Raises:
            OSError: it cannot.
        """
        name = host.strip("[]")
        family = socket.getaddrinfo(name, 0, type=socket.SOCK_STREAM)[0][0]
        # Given a name alone, the store would listen on all addresses of the machine.
        listener = socket.create_server((name, 0), family=family)
        self.port: int = listener.getsockname()[1]
        self._store = TCPStore(
            name,
            self.port,
            is_master=True,
            wait_for_workers=False,
            timeout=TIMEOUT,
            master_listen_fd=listener.detach(),
        )
