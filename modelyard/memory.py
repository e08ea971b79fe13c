"""How a process keeps its memory."""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8
"""mallopt(3)."""


def share_heap() -> None:
    """Have all threads allocate from one heap, so that what one has freed another uses; where glibc is, else nothing.

    Each thread that moves bytes would keep a heap of its own otherwise, as large as it ever was.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)
