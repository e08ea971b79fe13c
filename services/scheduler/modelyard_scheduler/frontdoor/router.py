"""Which instance executes a call, and what happens when it is lost under it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from modelyard.catalogue import Version
from modelyard.errors import DeadlineError, ModelExecutionError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.stream import ExecuteStream, InstanceLostError
from modelyard_scheduler.frontdoor.table import RoutingTable

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
        self._suspects: dict[ModelVersion, asyncio.Lock] = {}

    async def infer(self, model: str, version: str, request: bytes, timeout_s: float | None) -> bytes:
        """Execute a serialized request; return the serialized response.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: it is registered but not deployed.
            UnavailableError: no instance is READY.
            ModelExecutionError: the model failed, or two runners died while they executed this call.
            DeadlineError: the deadline passed before it could be sent.
        """
        expires_s = None if timeout_s is None else time.monotonic() + timeout_s
        target = self._table.resolve(model, version) or await self._resolve_slowly(model, version)
        while True:
            stream = pick(self._table.streams(target)) or await self._await_stream(target)
            try:
                return await stream.call(request, _left(expires_s))
            except InstanceLostError as lost:
                if lost.executing:
                    return await self._execute_alone(target, request, expires_s)

    async def _execute_alone(self, target: ModelVersion, request: bytes, expires_s: float | None) -> bytes:
        """Execute a call under which a runner died: once more, and by itself, so that it can only harm itself.

        One such call of a version at a time: were two of them to blame, they would not take two runners at once.
        """
        async with self._suspects.setdefault(target, asyncio.Lock()):
            while True:
                stream = pick(self._table.streams(target)) or await self._await_stream(target)
                try:
                    async with stream.reserved():
                        return await stream.call(request, _left(expires_s))
                except InstanceLostError as lost:
                    if lost.executing:
                        raise ModelExecutionError(
                            f"model {str(target)!r}: two runners died while they executed this call"
                        ) from None

    async def resolve(self, model: str, version: str) -> ModelVersion:
        """The deployed version that is meant; raises as `infer` does if there is none."""
        return self._table.resolve(model, version) or await self._resolve_slowly(model, version)

    async def _resolve_slowly(self, model: str, version: str) -> ModelVersion:
        """Ask the registry what a name means that is neither a model nor a version known to be deployed."""
        found = await self._find_version(model, version)
        deployed = self._table.resolve(model, found.version)
        if deployed is not None:
            return deployed
        wanted = ModelVersion(model, found.version)
        if await self._table.is_deployed(wanted):
            raise _unavailable(wanted, "it was deployed just now, no instance of it is READY")
        raise PreconditionError(f"model {str(wanted)!r}: registered but not deployed; deploy it first")

    async def _await_stream(self, target: ModelVersion) -> ExecuteStream:
        """Wait for a stream that is being connected or reserved; an instance that is only loading is not waited for."""
        connect_by_s = time.monotonic() + CONNECT_S
        while (stream := pick(streams := self._table.streams(target))) is None:
            if not streams:
                raise _unavailable(target, "no instance of it is READY")
            reserved = any(s.connected for s in streams)
            left_s = None if reserved else connect_by_s - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise _unavailable(target, "no instance of it can be reached")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left_s):  # not wait_for, whose task would begin to wait too late
                    await self._table.changed()
        return stream


def _unavailable(target: ModelVersion, reason: str) -> UnavailableError:
    return UnavailableError(f"model {str(target)!r}: {reason}", retry_after_s=RETRY_AFTER_S)


def _left(expires_s: float | None) -> float | None:
    if expires_s is None:
        return None
    left_s = expires_s - time.monotonic()
    if left_s <= 0:
        raise DeadlineError("the deadline passed while the call was routed")
    return left_s
