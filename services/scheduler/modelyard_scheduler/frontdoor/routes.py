"""modelyard.v1.Router: the way to the runners, for clients that call them directly."""

from __future__ import annotations

from collections.abc import Sequence

from modelyard.deployment import Instance
from modelyard.rpc.interceptor import Context
from modelyard.v1 import router_pb2 as pb
from modelyard_scheduler.frontdoor.router import Router

TTL_MS = 5_000
"""Short: a version that its alias has left, and an instance that is gone, are called no longer than that."""
Endpoint = pb.Route.Endpoint


class RouteServicer:
    """Tells routes."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def ResolveRoute(self, request: pb.ResolveRouteRequest, context: Context) -> pb.Route:  # noqa: N802
        """Return the version that a name means and the runners that hold it; the same of an alias's canary version.

        An on-demand deployment is loaded first, if need be.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: it is not deployed.
            UnavailableError: no instance of it is READY.
        """
        way = await self._router.way(request.model, request.version, context.time_remaining())
        version, endpoints = way.version, _endpoints(way.instances)
        told = pb.Route(model=version.model, version=version.version, endpoints=endpoints, ttl_ms=TTL_MS)
        if way.canary:
            told.canary.version, told.canary.percent = way.canary.version.version, way.percent
            told.canary.endpoints.extend(_endpoints(way.canary.instances))
        return told


def _endpoints(instances: Sequence[Instance]) -> list[Endpoint]:
    return [Endpoint(worker=i.worker, address=i.endpoint) for i in instances]
