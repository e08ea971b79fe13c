"""How an attempt ends that comes to nothing, for reasons that are none of its rows'."""

from __future__ import annotations


class LostError(Exception):
    """The runner died, or is silent, while it may have executed rows."""


class UndoneError(Exception):
    """The instance does not take rows now: nothing is wrong with them."""
