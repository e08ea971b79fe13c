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
        self.shutting = asyncio.Event()
        self._under_way = 0
        self._idle = asyncio.Event()

    def enter(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count a call until its last byte is sent; raise UnavailableError if the gate is shut."""
        self.check_open()
        self._under_way += 1
        context.add_done_callback(self._leave)  # type: ignore[arg-type]

    def check_open(self) -> None:
        """Raise UnavailableError if the gate is shut."""
        if self.shutting.is_set():
            raise UnavailableError("this server is stopping")

    def _leave(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._under_way -= 1
        if self.shutting.is_set() and not self._under_way:
            self._idle.set()

    async def shut(self, grace_s: float) -> None:
        """Let nobody in any more; return when all have left, at the latest after the grace period."""
        self.shutting.set()
        if self._under_way:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(grace_s):
                    await self._idle.wait()
