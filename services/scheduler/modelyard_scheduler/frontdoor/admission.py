"""How much a front door takes on at once. Policy only: no I/O."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.errors import ExhaustedError, InvalidInputError
from modelyard.rpc.channel import MAX_MESSAGE_BYTES

MAX_REQUEST_BYTES = MAX_MESSAGE_BYTES - 1024
"""What still fits into a message to a runner."""
RETRY_AFTER_S = 0.25


@dataclass(frozen=True)
class Bounds:
    """What may be outstanding: so many calls, and so many bytes of requests."""

    calls: int = 20_000
    bytes: int = 1 << 30


class Admission:
    """Counts what is outstanding.

    Attributes:
        calls: how many.
        bytes: of their requests.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.calls = 0
        self.bytes = 0

    def enter(self, size: int) -> None:
        """Take on a request of so many bytes.

        Raises:
            InvalidInputError: it is larger than any that can be passed on.
            ExhaustedError: too much is outstanding.
        """
        if size > MAX_REQUEST_BYTES:
            raise InvalidInputError(f"request: expected at most {MAX_REQUEST_BYTES} bytes, got {size}")
        if self.calls >= self._bounds.calls:
            raise ExhaustedError(f"this front door has {self.calls} calls outstanding", retry_after_s=RETRY_AFTER_S)
        if self.bytes + size > self._bounds.bytes and self.calls:
            raise ExhaustedError(
                f"this front door has {self.bytes} bytes of requests outstanding, at most {self._bounds.bytes} may be",
                retry_after_s=RETRY_AFTER_S,
            )
        self.calls += 1
        self.bytes += size

    def leave(self, size: int) -> None:
        """The end of a request that was taken on."""
        self.calls -= 1
        self.bytes -= size
