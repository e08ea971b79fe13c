"""Calling runners directly: the front door tells the way, and takes over where that way is lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import grpc.aio

from modelyard.errors import DeadlineError, NotFoundError, UnavailableError, UnimplementedError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import LOST_STATUS, error_of
from modelyard.sdk.connection import Connection
from modelyard.sdk.routes import REACH_S, is_loopback
from modelyard.v1 import router_pb2

MAX_ROUTES = 1000
RESOLVE_S = 5.0
UNREACHABLE_S = 30.0
"""For so long calls of a model go through the front door when none of its runners can be reached from here."""
_STICKY = ("sequence_id", "routing_key")


@dataclass(eq=False)
class _Endpoint:
    channel: grpc.aio.Channel
    inference: Any
    outstanding: int = 0


@dataclass(frozen=True)
class _Target:
    version: ModelVersion
    endpoints: Sequence[_Endpoint]


@dataclass(frozen=True)
class _Route:
    """`percent` of the calls go to the canary; without a target all of them go through the front door."""

    expires_s: float
    stable: _Target | None = None
    canary: _Target | None = None
    percent: float = 0.0

    def draw(self) -> _Target | None:
        drawn = self.canary is not None and random.random() * 100 < self.percent  # noqa: S311 (not a secret)
        return self.canary if drawn else self.stable

    @property
    def endpoints(self) -> Sequence[_Endpoint]:
        return [e for target in (self.stable, self.canary) if target for e in target.endpoints]


class DirectCalls:
    """ModelInfer straight to the runners of a model, the less loaded of two of them.

    A route is used for as long as the front door said; where an alias has a canary version, each call draws. A call
    whose runner is lost or has let go of the model goes through the front door, and the next one asks for the route
    anew. Calls that are sticky go through the front door, which knows where to.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        """`connection` is that to the front door."""
        self._connection = connection
        self._clock = clock
        self._routes: OrderedDict[ModelVersion, _Route] = OrderedDict()
        self._resolving: dict[ModelVersion, asyncio.Task[_Route]] = {}
        self._endpoints: dict[str, _Endpoint] = {}

    async def infer(self, request: messages.ModelInferRequest, timeout_s: float | None) -> messages.ModelInferResponse:
        """Execute a request within `timeout_s` seconds, None: the connection's.

        Raises:
            ModelyardError: as a call through the front door does.
        """
        ends_s = self._clock() + (self._connection.timeout_s if timeout_s is None else timeout_s)
        if not any(name in request.parameters for name in _STICKY):
            reference = ModelVersion(request.model_name, request.model_version)
            target = (await self._route_within(reference, ends_s - self._clock())).draw()
            if target:
                try:
                    return await self._call(target, request, ends_s - self._clock())
                except (UnavailableError, NotFoundError):
                    self._routes.pop(reference, None)
                finally:
                    request.model_name, request.model_version = reference.model, reference.version
        infer, left_s = self._connection.inference.ModelInfer, max(0.0, ends_s - self._clock())
        return cast(messages.ModelInferResponse, await self._connection.call(infer, request, timeout_s=left_s))

    async def _call(
        self, target: _Target, request: messages.ModelInferRequest, timeout_s: float
    ) -> messages.ModelInferResponse:
        endpoint = _pick(target.endpoints)
        request.model_name, request.model_version = target.version.model, target.version.version
        endpoint.outstanding += 1
        try:
            call = endpoint.inference.ModelInfer(request, timeout=timeout_s, metadata=self._connection.metadata)
            return cast(messages.ModelInferResponse, await call)
        except grpc.aio.AioRpcError as failure:
            if failure.details() == LOST_STATUS:
                raise UnavailableError("a runner ended the call while it was being sent") from failure
            raise error_of(failure) from failure
        finally:
            endpoint.outstanding -= 1

    async def _route_within(self, reference: ModelVersion, timeout_s: float) -> _Route:
        """The route of a name; one without a target if none is told in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._route(reference)
        except (TimeoutError, UnavailableError, DeadlineError):
            return _Route(self._clock())

    async def _route(self, reference: ModelVersion) -> _Route:
        """The route of a name; asked for once, however many calls wait for it."""
        route = self._routes.get(reference)
        if route is not None and route.expires_s > self._clock():
            self._routes.move_to_end(reference)
            return route
        resolving = self._resolving.get(reference)
        if resolving is None:
            resolving = self._resolving[reference] = asyncio.ensure_future(self._resolve(reference))
            resolving.add_done_callback(lambda task: self._resolved(reference, task))
        return await asyncio.shield(resolving)

    def _resolved(self, reference: ModelVersion, task: asyncio.Task[_Route]) -> None:
        del self._resolving[reference]
        if not task.cancelled():
            task.exception()  # those who wait have it; if all of them have left, nobody misses it

    async def _resolve(self, reference: ModelVersion) -> _Route:
        request = router_pb2.ResolveRouteRequest(model=reference.model, version=reference.version)
        resolve = self._connection.router.ResolveRoute
        try:
            answer = await self._connection.call(resolve, request, timeout_s=RESOLVE_S, retry=False)
        except UnimplementedError:
            answer = router_pb2.Route()
        route = self._routes[reference] = await self._reached(answer)
        while len(self._routes) > MAX_ROUTES:
            self._routes.popitem(last=False)
        await self._let_go()
        return route

    async def _reached(self, told: router_pb2.Route) -> _Route:
        """A route as it was told; one without a target if the runners of a version of it cannot be reached."""
        stable = await self._target(told.model, told.version, told.endpoints)
        if not stable or not told.HasField("canary"):
            return _Route(self._clock() + (told.ttl_ms / 1000 if stable else UNREACHABLE_S), stable)
        canary = await self._target(told.model, told.canary.version, told.canary.endpoints)
        if not canary:
            return _Route(self._clock() + UNREACHABLE_S)
        return _Route(self._clock() + told.ttl_ms / 1000, stable, canary, told.canary.percent)

    async def _target(self, model: str, version: str, told: Iterable[router_pb2.Route.Endpoint]) -> _Target | None:
        """The runners of a version that answer; of the addresses of this host only if the front door has one."""
        here = is_loopback(self._connection.address)
        addresses = [e.address for e in told if here or not is_loopback(e.address)]
        reached = [e for e in await asyncio.gather(*map(self._reach, addresses)) if e is not None]
        return _Target(ModelVersion(model, version), reached) if reached else None

    async def _reach(self, address: str) -> _Endpoint | None:
        """A connected channel to a runner; None if that takes too long."""
        endpoint = self._endpoints.get(address)
        if endpoint is None:
            channel = open_channel(address)
            endpoint = self._endpoints[address] = _Endpoint(channel, Stub(channel, messages.SERVICE))
        try:
            async with asyncio.timeout(REACH_S):
                await endpoint.channel.channel_ready()
        except TimeoutError:
            return None
        return endpoint

    async def _let_go(self) -> None:
        """Close the channels that no route has and no call uses."""
        if len(self._resolving) > 1:
            return  # the others may be about to use one
        used = {endpoint for route in self._routes.values() for endpoint in route.endpoints}
        over = [a for a, e in self._endpoints.items() if e not in used and not e.outstanding]
        for endpoint in [self._endpoints.pop(address) for address in over]:
            await endpoint.channel.close(None)

    async def close(self) -> None:
        """Close every channel; calls in flight are cancelled."""
        for task in list(self._resolving.values()):
            task.cancel()
        self._routes.clear()
        endpoints, self._endpoints = list(self._endpoints.values()), {}
        for endpoint in endpoints:
            await endpoint.channel.close(None)


def _pick(endpoints: Sequence[_Endpoint]) -> _Endpoint:
    """The less loaded of two at random."""
    two = random.sample(endpoints, min(2, len(endpoints)))
    return min(two, key=lambda endpoint: endpoint.outstanding)
