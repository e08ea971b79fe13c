"""Results of collectives that are waited for no longer than the group is there."""

from __future__ import annotations

from threading import Lock
from typing import Generic, TypeVar

from torch.futures import Future

T = TypeVar("T")


class Pending(Generic[T]):
    """A result that comes, or is given up: whichever is first.

    Attributes:
        future: done in both cases, with the same value. Who waited for it asks the group whether it is any good: so
            what waits inside of torch, as DDP's backward pass does, ends in order, and not half-way.
    """

    def __init__(self, value: T) -> None:
        self.future: Future[T] = Future()
        self._value = value
        self._settled = Lock()

    def settle(self) -> None:
        """End the waiting; again: nothing. From any thread."""
        if self._settled.acquire(blocking=False):  # once, and never released
            self.future.set_result(self._value)
