"""Which instance executes a call, and what happens when it is lost under it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from modelyard.catalogue import Version
from modelyard.errors import DeadlineError, ModelExecutionError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.stream import ExecuteStream, InstanceLostError
from modelyard_scheduler.frontdoor.table import RoutingTable

MAX_LOSSES = 2
"""A call that was executing when so many runners died is held to be what killed them."""
CONNECT_S = 2.0
"""How long a call waits for a stream to an instance that is READY but not connected yet."""
RETRY_AFTER_S = 0.5


def pick(streams: Sequence[ExecuteStream]) -> ExecuteStream | None:
    """Power of two choices: of two at random the one with fewer calls outstanding (Mitzenmacher, 2001)."""
    usable = [s for s in streams if s.usable]
    if len(usable) <= 1:
        return usable[0] if usable else None
    first, second = random.sample(usable, 2)
    return first if first.outstanding <= second.outstanding else second


class Router:
    """Sends each call to an instance, and again to another when that one is lost, within the call's deadline."""

    def __init__(self, table: RoutingTable, find_version: Callable[[str, str], Awaitable[Version]]) -> None:
        """`find_version` asks the registry, to tell what is not deployed from what does not exist."""
        self._table = table
        self._find_version = find_version

    async def infer(self, model: str, version: str, request: bytes, timeout_s: float | None) -> bytes:
        """Execute a serialized request; return the serialized response.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: it is registered but not deployed.
            UnavailableError: no instance is READY.
            ModelExecutionError: the model failed, or two runners died while they executed this call.
            DeadlineError: the deadline passed before it could be sent.
        """
        target = self._table.resolve(model, version) or await self._resolve_slowly(model, version)
        expires_s = None if timeout_s is None else time.monotonic() + timeout_s
        losses = 0
        while True:
            stream = pick(self._table.streams(target)) or await self._await_stream(target)
            try:
                return await stream.call(request, _left(expires_s))
            except InstanceLostError as lost:
                losses += lost.executing
            if losses >= MAX_LOSSES:
                raise ModelExecutionError(f"model {str(target)!r}: {losses} runners died while they executed this call")

    async def resolve(self, model: str, version: str) -> ModelVersion:
        """The deployed version that is meant; raises as `infer` does if there is none."""
        return self._table.resolve(model, version) or await self._resolve_slowly(model, version)

    async def _resolve_slowly(self, model: str, version: str) -> ModelVersion:
        found = await self._find_version(model, version)
        deployed = self._table.resolve(model, version or found.version)
        if deployed is None:
            name = f"{model}@{found.version}"
            raise PreconditionError(f"model {name!r}: registered but not deployed; deploy it first")
        return deployed

    async def _await_stream(self, target: ModelVersion) -> ExecuteStream:
        """Wait for a stream that is being connected; an instance that is only loading is not waited for."""
        deadline_s = time.monotonic() + CONNECT_S
        while True:
            streams = self._table.streams(target)
            left_s = deadline_s - time.monotonic()
            if not streams or left_s <= 0:
                reason = "no instance of it can be reached" if streams else "no instance of it is READY"
                raise UnavailableError(f"model {str(target)!r}: {reason}", retry_after_s=RETRY_AFTER_S)
            waits = [asyncio.ensure_future(s.connected.wait()) for s in streams]
            await asyncio.wait(waits, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            if (stream := pick(streams)) is not None:
                return stream


def _left(expires_s: float | None) -> float | None:
    if expires_s is None:
        return None
    left_s = expires_s - time.monotonic()
    if left_s <= 0:
        raise DeadlineError("the deadline passed while the call was routed")
    return left_s
