"""The execute stream to one instance: kept connected, with a lane for ordinary calls and one for large ones."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

from modelyard.backoff import Backoff
from modelyard.deployment import Instance
from modelyard.errors import ModelyardError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.lane import LARGE_BYTES, InstanceLostError, Lane
from modelyard.tasks import stop_on_failure

log = logging.getLogger(__name__)

LAST_S = 10.0
"""How long large calls may still be answered after the runner has ended the lane of the others."""


LARGE_PAUSE_S = 0.2
"""Before a lane of large calls is tried again that the runner did not accept: they come back at once."""


class ExecuteStream:
    """Keeps a stream to a runner open, and gives every call its reply.

    Large requests have a lane of their own, over another connection, which the first of them opens, so that small ones
    need not wait until they are through.

    Attributes:
        outstanding: how many calls wait for their reply.
        connected: whether the runner has accepted the stream.
        connects: how often that was tried; calls that are lost at the same value were lost at once.
        inference: a client of the runner's inference.GRPCInferenceService, for what is not executed; while `connected`.
    """

    def __init__(self, instance: Instance, on_change: Callable[[], None]) -> None:
        """`on_change` is called whenever `usable` may have become another."""
        self.instance = instance
        self.version = ModelVersion(instance.model, instance.version)
        self.outstanding = 0
        self.connected = False
        self.connects = 0
        self.inference: Any = None
        self._name = str(self.version)
        self._on_change = on_change
        self._lane = Lane(self._name)
        self._large: Lane | None = None
        self._large_task: asyncio.Future[None] | None = None
        self._large_pause_s = 0.0
        self._quiet = asyncio.Event()
        self._draining = False
        self._reserved = False
        self._broke = ""
        self._task = asyncio.ensure_future(self._run())
        self._task.add_done_callback(stop_on_failure)

    @property
    def usable(self) -> bool:
        """Whether new calls may be sent."""
        return self.connected and not self._draining and not self._reserved

    async def call(self, request: bytes, timeout_s: float | None, *, alone: bool = False) -> bytes:
        """Execute a serialized ModelInferRequest; return the serialized ModelInferResponse.

        Args:
            request: as the client sent it.
            timeout_s: what is left of its deadline; None: it has none.
            alone: whether it is to be executed in a batch of its own.

        Raises:
            InstanceLostError: the stream broke before the reply came.
            ModelyardError: what the runner answered.
        """
        if not self.connected:
            raise InstanceLostError
        lane = self._lane if len(request) < LARGE_BYTES else self._large_lane()
        call_id, reply = lane.submit(request, timeout_s, alone=alone)
        self.outstanding += 1
        try:
            return await reply
        finally:
            self.outstanding -= 1
            lane.forget(call_id)
            if not self.outstanding:
                self._quiet.set()

    @contextlib.asynccontextmanager
    async def reserved(self) -> AsyncIterator[None]:
        """Have the instance to oneself: nobody else gets in, and those who are in finish first.

        Raises:
            InstanceLostError: it was lost before that.
        """
        self._reserved = True
        try:
            await self._until_quiet()
            if not self.connected or self._draining:
                raise InstanceLostError
            yield
        finally:
            self._reserved = False
            self._on_change()

    async def drain(self) -> None:
        """Send no new call, wait for the replies under way, close."""
        self._draining = True
        await self._until_quiet()
        await self.close()

    async def close(self) -> None:
        """Close at once."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _until_quiet(self) -> None:
        while self.outstanding:
            self._quiet.clear()
            await self._quiet.wait()

    async def _run(self) -> None:
        backoff = Backoff(0.05, 1.0)
        async with open_channel(self.instance.endpoint, watchful=True) as channel:  # connects when it is used
            self.inference = Stub(channel, messages.SERVICE)

            def accepted() -> None:
                backoff.reset()
                self.connected = True
                self._broke = ""
                self._on_change()

            while True:
                self._lane = Lane(self._name)
                self.connects += 1
                try:
                    await self._lane.converse(self.instance.execute_endpoint, accepted)
                    await self._last_large()
                except ModelyardError as error:
                    self._log_break(error)
                finally:
                    self.connected = False
                    await self._end_large()
                    self._on_change()
                await asyncio.sleep(backoff.next())

    def _large_lane(self) -> Lane:
        if self._large is None:
            self._large = Lane(self._name)
            self._large_task = asyncio.ensure_future(self._run_large(self._large))
            self._large_task.add_done_callback(stop_on_failure)
        return self._large

    async def _run_large(self, lane: Lane) -> None:
        pause_s, self._large_pause_s = self._large_pause_s, LARGE_PAUSE_S

        def accepted() -> None:
            self._large_pause_s = 0.0

        try:
            await asyncio.sleep(pause_s)
            await lane.converse(self.instance.execute_endpoint, accepted)
        except ModelyardError as error:
            self._log_break(error)
        finally:
            if self._large is lane:
                self._large = None

    async def _last_large(self) -> None:
        """A runner that ends a stream in order has answered all of it: let the large lane come to its end as well."""
        self.connected = False
        self._on_change()
        if self._large_task is not None:
            await asyncio.wait([self._large_task], timeout=LAST_S)

    async def _end_large(self) -> None:
        large, self._large = self._large, None
        if large is not None:
            large.lose(died=True)  # by itself: its task may be cancelled before it began, and so may we
        if self._large_task is not None:
            self._large_task.cancel()
            await asyncio.wait([self._large_task])
            self._large_task = None

    def _log_break(self, error: ModelyardError) -> None:
        if error.message != self._broke:  # it is tried again and again
            self._broke = error.message
            facts = {"instance": self._name, "worker": self.instance.worker, "reason": error.message}
            log.warning("execute stream broke", extra=facts)
