"""What a client is told when it is made, checked before anything is tried."""

from __future__ import annotations

import math
import re

from modelyard.errors import InvalidInputError

MAX_PORT = 65535
_ADDRESS = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[A-Za-z0-9._-]+):([0-9]{1,5})\Z")


def check_address(address: str) -> str:
    """Return an address, or raise InvalidInputError: host:port, an IPv6 host in brackets."""
    found = _ADDRESS.match(address)
    if not found or not 0 < int(found[1]) <= MAX_PORT:
        raise InvalidInputError(f"address: expected host:port, got {address!a}")
    return address


def check_timeout(timeout_s: float) -> float:
    """Return a timeout, or raise InvalidInputError: a finite number of seconds above 0."""
    if not (isinstance(timeout_s, int | float) and 0 < timeout_s < math.inf):
        raise InvalidInputError(f"timeout_s: expected a finite number of seconds above 0, got {timeout_s!r}")
    return timeout_s
