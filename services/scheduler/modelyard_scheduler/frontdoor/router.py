"""What becomes of a request: whom it is for, by which version it is executed, whole or in parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from modelyard.catalogue import Alias, Version
from modelyard.deployment import Instance
from modelyard.errors import InvalidInputError, ModelyardError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.admission import Admission, Bounds
from modelyard_scheduler.frontdoor.affinity import draw
from modelyard_scheduler.frontdoor.aliases import Aliases
from modelyard_scheduler.frontdoor.demand import Demand
from modelyard_scheduler.frontdoor.dispatch import RETRY_AFTER_S, Call, Dispatcher
from modelyard_scheduler.frontdoor.envelope import Envelope, read_envelope
from modelyard_scheduler.frontdoor.splitting import gather, split
from modelyard_scheduler.frontdoor.table import Route, RoutingTable

Observe = Callable[[ModelVersion | None, str, float], None]
"""Told of every call: its version (None if it came to none), the name of its status, seconds."""
FindVersion = Callable[[str, str], Awaitable[Version]]
"""Asks the registry for a version: by its name, an alias, or (empty) the newest."""


@dataclass(slots=True)
class _Seen:
    """What is to be said of a call when it has ended."""

    version: ModelVersion | None = None
    status: str = "INTERNAL"


class Router:
    """Executes requests on the instances of the versions that they mean."""

    def __init__(
        self,
        table: RoutingTable,
        aliases: Aliases,
        demand: Demand,
        find_version: FindVersion,
        observe: Observe = lambda version, status, seconds: None,
        bounds: Bounds | None = None,
    ) -> None:
        """`find_version` is asked only to tell what is not deployed from what does not exist."""
        self._table = table
        self._aliases = aliases
        self._demand = demand
        self._find_version = find_version
        self._observe = observe
        self._admission = Admission(bounds or Bounds())
        self._dispatcher = Dispatcher(table, demand)

    async def infer(self, request: bytes, timeout_s: float | None) -> bytes:
        """Execute a serialized ModelInferRequest; return the serialized ModelInferResponse.

        Raises:
            InvalidInputError: the bytes are no request, or the model refused it.
            NotFoundError: no such model or version.
            PreconditionError: it is registered but not deployed.
            UnavailableError: no instance is READY, or a sequence was lost.
            ExhaustedError: too much is outstanding here or in the queues of the instances.
            ModelExecutionError: the model failed, or two runners died while they executed this request.
            DeadlineError: the deadline passed before it could be sent.
        """
        begun_s = time.monotonic()
        seen = _Seen()
        try:
            return await self._admit(request, None if timeout_s is None else begun_s + timeout_s, seen)
        except ModelyardError as error:
            seen.status = error.status
            raise
        except asyncio.CancelledError:
            seen.status = "CANCELLED"
            raise
        finally:
            self._observe(seen.version, seen.status, time.monotonic() - begun_s)

    async def _admit(self, request: bytes, expires_s: float | None, seen: _Seen) -> bytes:
        self._admission.enter(len(request))
        try:
            envelope = read_envelope(request)
            route = await self._route(envelope.model, envelope.version, envelope.stickiness)
            seen.version = route.version
            response = await self._execute(route, envelope, request, expires_s)
        finally:
            self._admission.leave(len(request))
        seen.status = "OK"
        return response

    async def resolve(self, model: str, version: str) -> ModelVersion:
        """The deployed version that a name means; raises as `infer` does if there is none."""
        return (await self._route(model, version)).version

    async def instances(self, model: str, version: str, timeout_s: float | None) -> tuple[ModelVersion, list[Instance]]:
        """The deployed version that a name means and the instances of it that answer; at least one.

        Raises:
            UnavailableError: there is none. (Others as `infer`.)
        """
        route = await self._route(model, version)
        if route.deployment.on_demand:
            self._demand.note(route.version)
        expires_s = None if timeout_s is None else time.monotonic() + timeout_s
        await self._dispatcher.wait_usable(Call(route.version, b"", expires_s, on_demand=route.deployment.on_demand))
        streams = self._table.streams(route.version)
        return route.version, [s.instance for s in streams if s.connected]

    async def _execute(self, route: Route, envelope: Envelope, request: bytes, expires_s: float | None) -> bytes:
        on_demand = route.deployment.on_demand
        if on_demand:
            self._demand.note(route.version)
        least = route.least_split_bytes
        if least is not None and len(request) > least and not envelope.stickiness:
            parts = split(request, route.deployment.options.max_batch_size, len(route.streams))
            if parts:
                return await self._execute_parts(route, parts, expires_s)
        call = Call(route.version, request, expires_s, envelope.sequence, envelope.routing_key, on_demand)
        return await self._dispatcher.execute(call)

    async def _execute_parts(self, route: Route, parts: list[tuple[int, bytes]], expires_s: float | None) -> bytes:
        """Execute all parts of a request at once; one that fails fails them all."""
        calls = [Call(route.version, part, expires_s, on_demand=route.deployment.on_demand) for _, part in parts]
        executing = [asyncio.ensure_future(self._dispatcher.execute(call)) for call in calls]
        try:
            responses = await asyncio.gather(*executing)
        finally:
            for task in executing:
                task.cancel()
            await asyncio.gather(*executing, return_exceptions=True)
        return gather([(rows, response) for (rows, _), response in zip(parts, responses, strict=True)])

    async def _route(self, model: str, version: str, key: str = "") -> Route:
        """How the calls of a name go; `key` is what decides which version of an alias, where not chance does."""
        if "@" in model:
            model, version = _split(model, version)
        return self._table.route(model, version) or await self._route_by_alias(model, version, key)

    async def _route_by_alias(self, model: str, version: str, key: str) -> Route:
        if version and self._table.route(model):
            alias = self._aliases.known(model, version) or await self._aliases.find(model, version)
            if alias and (route := self._route_of(alias, model, key)):
                return route
        return await self._route_slowly(model, version)

    def _route_of(self, alias: Alias, model: str, key: str) -> Route | None:
        """To the canary version only while that has an instance."""
        route = self._table.route(model, draw(alias, key))
        return route if route and route.connected else self._table.route(model, alias.version)

    async def _route_slowly(self, model: str, version: str) -> Route:
        """Ask the registry what a name means that is not known to be deployed."""
        found = await self._find_version(model, version)
        route = self._table.route(model, found.version)
        if route is not None:
            return route
        wanted = ModelVersion(model, found.version)
        if await self._table.is_deployed(wanted):
            raise UnavailableError(
                f"model {str(wanted)!r}: it was deployed just now, no instance of it is READY",
                retry_after_s=RETRY_AFTER_S,
            )
        raise PreconditionError(f"model {str(wanted)!r}: registered but not deployed; deploy it first")


def _split(model: str, version: str) -> tuple[str, str]:
    """`mlp@stable` as model and version; raises InvalidInputError if another version is named beside it."""
    name, _, named = model.partition("@")
    if version not in {"", named}:
        raise InvalidInputError(f"model_version: expected {named!r} or none beside {model!r}, got {version!r}")
    return name, named
