"""How an attempt ends that comes to nothing, for reasons that are none of its rows'."""

from __future__ import annotations


class LostError(Exception):
    """The runner died, or is silent, while it may have executed rows.

    Attributes:
        begin: the first of those, counted as the task counts them.
        end: behind the last; 0: it is not known which.
        stuck: it has not answered for too long.
    """

    def __init__(self, reason: str, begin: int = 0, end: int = 0, *, stuck: bool = False) -> None:
        super().__init__(reason)
        self.begin = begin
        self.end = end
        self.stuck = stuck


class UndoneError(Exception):
    """The instance does not take rows now: nothing is wrong with them."""
