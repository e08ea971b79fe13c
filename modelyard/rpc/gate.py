"""Which calls a server has under way, so that it can stop without breaking one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import grpc.aio

from modelyard.errors import UnavailableError


class Gate:
    """Counts calls; once it is shut, no other comes in."""

    def __init__(self) -> None:
        self._shut = False
        self._under_way = 0
        self._idle = asyncio.Event()

    def enter(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count a call until its last byte is sent; raise UnavailableError if the gate is shut."""
        if self._shut:
            raise UnavailableError("this server is stopping")
        self._under_way += 1
        context.add_done_callback(self._leave)  # type: ignore[arg-type]

    def _leave(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._under_way -= 1
        if self._shut and not self._under_way:
            self._idle.set()

    async def shut(self, grace_s: float) -> None:
        """Let nobody in any more; return when all have left, at the latest after the grace period."""
        self._shut = True
        if self._under_way:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
