"""Which instance executes a call, and what happens when it is lost under it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Hashable
from contextlib import AbstractAsyncContextManager

from modelyard.deployment import Instance
from modelyard.errors import (
    DeadlineError,
    ExhaustedError,
    ModelExecutionError,
    PreconditionError,
    SequenceError,
    UnavailableError,
)
from modelyard.names import ModelVersion
from modelyard.rpc.lane import InstanceLostError
from modelyard_scheduler.frontdoor.affinity import in_order, less_loaded, pick
from modelyard_scheduler.frontdoor.calls import Call
from modelyard_scheduler.frontdoor.demand import URGENT_S, Demand
from modelyard_scheduler.frontdoor.poison import Refusals, Suspicions
from modelyard_scheduler.frontdoor.stream import ExecuteStream
from modelyard_scheduler.frontdoor.table import RoutingTable

CONNECT_S = 2.0
"""How long a call waits for a stream to an instance that is READY but not connected yet."""
LOAD_S = 120.0
"""How long it waits for an on-demand deployment to be loaded."""
RETRY_AFTER_S = 0.5
MAX_DEATHS = 3
"""A suspect that so many runners died with is to blame, even if none of them could still say that it had begun."""


class Dispatcher:
    """Sends each call to an instance, and again to another when that one is lost, within the call's deadline."""

    def __init__(self, table: RoutingTable, demand: Demand, refusals: Refusals) -> None:
        self._table = table
        self._demand = demand
        self._suspects: dict[str, asyncio.Lock] = {}
        self._refusals = refusals
        self._suspicions = Suspicions()

    async def execute(self, call: Call) -> bytes:
        """Execute a call; return the serialized response.

        Raises:
            UnavailableError: no instance is READY, or the call's sequence was lost with its instance.
            PreconditionError: its on-demand deployment was withdrawn while it waited.
            ExhaustedError: the queues of two instances, or of the only one, are full.
            SequenceError: no instance knows the sequence.
            ModelExecutionError: the model failed, or two runners died while they executed this call, or one like it.
            DeadlineError: the deadline passed before it could be sent.
        """
        if self._refusals:
            self._refusals.check(call.version, call.request)
        if call.on_demand:
            self._demand.note(call.version)
        if call.sequence:
            return await self._execute_in_sequence(call)
        if self._suspicions and self._suspicions.holds(call.version, call.request):
            return await self._execute_alone(call)
        while True:
            stream = self._pick(call) or await self.wait_usable(call)
            connects = stream.connects
            try:
                try:
                    return await stream.call(call.request, call.left_s())
                except ExhaustedError:
                    other = less_loaded(self._table.streams(call.version), stream)
                    if other is None:
                        raise
                    stream, connects = other, other.connects
                    return await stream.call(call.request, call.left_s())
            except InstanceLostError as lost:
                if lost.executing:
                    self._suspicions.add(call.version, call.request, _death(stream, connects))
                    return await self._execute_alone(call)

    async def wait_usable(self, call: Call) -> ExecuteStream:
        """Wait for a stream that is being connected or reserved; an instance that is only loading is not waited for.

        Except where the deployment is on demand: then it is loaded because of this call.

        Raises:
            UnavailableError: there is none in time.
            PreconditionError: it was on demand and is not deployed any more.
            DeadlineError: the call's deadline passed first.
        """
        begun_s = time.monotonic()
        if call.on_demand:
            self._demand.note(call.version)
        while (stream := self._pick(call) or self._pick_elsewhere(call)) is None:
            waits_s = self._waits_s(call, time.monotonic() - begun_s)
            if call.on_demand:
                self._demand.note(call.version, URGENT_S)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(waits_s):  # not wait_for, whose task would begin to wait too late
                    await self._table.changed()
        return stream

    async def instances(self, call: Call) -> tuple[ModelVersion, list[Instance]]:
        """By which version a call would be executed, and the instances of it that answer; raises as `wait_usable`."""
        await self.wait_usable(call)
        return call.version, [s.instance for s in self._table.streams(call.version) if s.connected]

    def _pick(self, call: Call) -> ExecuteStream | None:
        streams = self._table.streams(call.version)
        if call.routing_key:
            return next((s for s in in_order(call.routing_key, streams) if s.usable), None)
        return pick(streams)

    def _pick_elsewhere(self, call: Call) -> ExecuteStream | None:
        """Of the version that calls without one go to now, if this call may go there and that is another."""
        if not call.newest:
            return None
        route = self._table.route(call.version.model)
        if route is None or route.version == call.version or not route.connected:
            return None
        call.version, call.on_demand = route.version, route.deployment.on_demand
        if self._refusals:
            self._refusals.check(call.version, call.request)
        return self._pick(call)

    async def _execute_alone(self, call: Call) -> bytes:
        """Execute a call under which a runner died: once more, and by itself, so that it can only harm itself.

        Nothing else of this front door is on the instance meanwhile, and what others have there is in other batches.
        One such call of a model at a time: were two of them to blame, they would not take two runners at once. A
        runner, to which several front doors may send one each, executes one at a time too, and says which.
        Where no other instance is READY, its client sends it again, and it comes here at once: it is a suspect still.
        """
        async with contextlib.AsyncExitStack() as turn:
            await _enter(turn, self._suspects.setdefault(call.version.model, asyncio.Lock()), call)
            first, deaths = call.version, 0
            while True:
                stream = self._pick(call) or await self.wait_usable(call)
                try:
                    async with contextlib.AsyncExitStack() as alone:
                        await _enter(alone, stream.reserved(), call)
                        answer = await stream.call(call.request, call.left_s(), alone=True)
                except InstanceLostError as lost:
                    deaths += lost.sent
                    if lost.executing or deaths == MAX_DEATHS:
                        raise self._refused(call, first) from None
                else:
                    self._suspicions.forget(first, call.request)
                    return answer

    def _refused(self, call: Call, *others: ModelVersion) -> ModelExecutionError:
        """What to say of a call with which two runners died; its inputs are refused from now on.

        `others`: versions of which one of them was, too.
        """
        for version in {call.version, *others}:
            self._refusals.add(version, call.request)
        return ModelExecutionError(f"model {str(call.version)!r}: two runners died while they executed this call")

    async def _execute_in_sequence(self, call: Call) -> bytes:
        """Ask the instances in the order that the sequence's id gives, until one knows the sequence.

        It begins on the first of them; another may have come before that one since. A call under which a runner died is
        lost with the sequence, and not sent again by us: if it is by the client, and another dies, it is to blame.
        """
        await self.wait_usable(call)
        unknown: SequenceError | None = None
        away = False
        for stream in in_order(call.sequence, self._table.streams(call.version)):
            while stream.connected and not stream.usable:
                await self._table.changed()
            if not stream.connected:
                away = True
                continue
            connects = stream.connects
            try:
                return await stream.call(call.request, call.left_s())
            except SequenceError as error:
                unknown = unknown or error
            except InstanceLostError as lost:
                death = _death(stream, connects)
                if lost.executing and self._suspicions.add(call.version, call.request, death):
                    raise self._refused(call) from None
                raise _unavailable(call.version, f"sequence {call.sequence} is lost with its instance") from None
        if away or unknown is None:
            raise _unavailable(call.version, f"an instance that may know sequence {call.sequence} cannot be reached")
        if self._table.withdrawn_lately(call.version):
            raise _unavailable(call.version, f"sequence {call.sequence} was lost with an instance that has gone")
        raise unknown

    def _waits_s(self, call: Call, waited_s: float) -> float | None:
        """How long to wait before the next look; raises UnavailableError if there is no sense in it."""
        streams = self._table.streams(call.version)
        left_s = call.left_s()
        if any(s.connected for s in streams):
            return left_s
        if call.on_demand:
            if self._table.route(call.version.model, call.version.version) is None:
                name = str(call.version)
                raise PreconditionError(f"model {name!r}: it was undeployed while the call waited; deploy it first")
            if reason := self._table.failure(call.version):
                raise _unavailable(call.version, reason)
            wanted_s = min(URGENT_S, LOAD_S - waited_s)
        elif streams:
            wanted_s = CONNECT_S - waited_s
        else:
            raise _unavailable(call.version, "no instance of it is READY")
        if wanted_s <= 0:
            raise _unavailable(call.version, "no instance of it can be reached")
        return wanted_s if left_s is None else min(wanted_s, left_s)


async def _enter(stack: contextlib.AsyncExitStack, context: AbstractAsyncContextManager[None], call: Call) -> None:
    """Enter a context within the deadline of a call; raise DeadlineError if it passes first."""
    try:
        async with asyncio.timeout(call.left_s()):
            await stack.enter_async_context(context)
    except TimeoutError:
        raise DeadlineError("the deadline passed while the call waited to be executed by itself") from None


def _death(stream: ExecuteStream, connects: int) -> Hashable:
    """What tells the loss of an instance from its next one; `connects` is what the stream's was before."""
    return stream.instance.worker, stream.instance.endpoint, connects


def _unavailable(version: ModelVersion, reason: str) -> UnavailableError:
    return UnavailableError(f"model {str(version)!r}: {reason}", retry_after_s=RETRY_AFTER_S)
