"""What becomes of a request: whom it is for, by which version it is executed, whole or in parts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from modelyard.deployment import Instance
from modelyard.errors import ModelyardError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.admission import Admission, Bounds
from modelyard_scheduler.frontdoor.calls import Call
from modelyard_scheduler.frontdoor.dispatch import Dispatcher
from modelyard_scheduler.frontdoor.envelope import read_envelope
from modelyard_scheduler.frontdoor.resolution import Resolution
from modelyard_scheduler.frontdoor.splitting import gather, split
from modelyard_scheduler.frontdoor.table import Route

Observe = Callable[[ModelVersion | None, str, float], None]
"""Told of every call: its version (None if it came to none), the name of its status, seconds."""


@dataclass(slots=True)
class _Seen:
    """What is to be said of a call when it has ended."""

    call: Call | None = None
    status: str = "INTERNAL"


@dataclass(frozen=True)
class Way:
    """Where the calls of a name go.

    Attributes:
        instances: those of the version that answer; at least one.
        canary: where `percent` of the calls go instead, drawn for each; None: none do.
    """

    version: ModelVersion
    instances: list[Instance]
    canary: Way | None = None
    percent: float = 0.0


class Router:
    """Executes requests on the instances of the versions that they mean."""

    def __init__(
        self,
        resolution: Resolution,
        dispatcher: Dispatcher,
        observe: Observe = lambda version, status, seconds: None,
        bounds: Bounds | None = None,
    ) -> None:
        self._resolution = resolution
        self._dispatcher = dispatcher
        self._observe = observe
        self._admission = Admission(bounds or Bounds())

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
            version = seen.call.version if seen.call else None
            self._observe(version, seen.status, time.monotonic() - begun_s)

    async def _admit(self, request: bytes, expires_s: float | None, seen: _Seen) -> bytes:
        self._admission.enter(len(request))
        try:
            model, version, sequence, routing_key = read_envelope(request)
            route = await self._resolution.route(model, version, sequence or routing_key)
            on_demand, newest = route.deployment.on_demand, not sequence and _names_none(model, version)
            call = seen.call = Call(route.version, request, expires_s, sequence, routing_key, on_demand, newest)
            response = await self._execute(route, call)
        finally:
            self._admission.leave(len(request))
        seen.status = "OK"
        return response

    async def resolve(self, model: str, version: str) -> ModelVersion:
        """The deployed version that a name means; raises as `infer` does if there is none."""
        return (await self._resolution.route(model, version)).version

    async def way(self, model: str, version: str, timeout_s: float | None) -> Way:
        """Where the calls of a name go.

        Raises:
            UnavailableError: no instance answers. (Others as `infer`.)
        """
        expires_s = None if timeout_s is None else time.monotonic() + timeout_s
        newest = _names_none(model, version)
        stable, canary, percent = await self._resolution.shares(model, version)
        found = Way(*await self._dispatcher.instances(_probe(stable, expires_s, newest)))
        if canary is None:
            return found
        return replace(found, canary=Way(*await self._dispatcher.instances(_probe(canary, expires_s))), percent=percent)

    async def _execute(self, route: Route, call: Call) -> bytes:
        least, request = route.least_split_bytes, call.request
        if least is not None and len(request) > least and not (call.sequence or call.routing_key):
            parts = split(request, route.deployment.options.max_batch_size, len(route.streams))
            if parts:
                return await self._execute_parts(call, parts)
        return await self._dispatcher.execute(call)

    async def _execute_parts(self, call: Call, parts: list[tuple[int, bytes]]) -> bytes:
        """Execute all parts of a request at once, by one version; one that fails fails them all."""
        calls = [Call(call.version, part, call.expires_s, on_demand=call.on_demand) for _, part in parts]
        executing = [asyncio.ensure_future(self._dispatcher.execute(part)) for part in calls]
        try:
            responses = await asyncio.gather(*executing)
        finally:
            for task in executing:
                task.cancel()
            await asyncio.gather(*executing, return_exceptions=True)
        return gather([(rows, response) for (rows, _), response in zip(parts, responses, strict=True)])


def _probe(route: Route, expires_s: float | None, newest: bool = False) -> Call:
    """A call that is not executed."""
    return Call(route.version, b"", expires_s, on_demand=route.deployment.on_demand, newest=newest)


def _names_none(model: str, version: str) -> bool:
    """Whether a name leaves the version to us."""
    return not version and "@" not in model
