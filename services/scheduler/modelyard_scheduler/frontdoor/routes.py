"""modelyard.v1.Router: the way to the runners, for clients that call them directly."""

from __future__ import annotations

from modelyard.rpc.interceptor import Context
from modelyard.v1 import router_pb2 as pb
from modelyard_scheduler.frontdoor.router import Router

TTL_MS = 5_000
"""Short: a version that its alias has left, and an instance that is gone, are called no longer than that."""


class RouteServicer:
    """Tells routes."""

    def __init__(self, router: Router) -> None:
        self._router = router

    async def ResolveRoute(self, request: pb.ResolveRouteRequest, context: Context) -> pb.Route:  # noqa: N802
        """Return the version that a name means and the runners that hold it.

        Of an alias with a canary version the share of the answers that name it is the share of its calls. An on-demand
        deployment is loaded first, if need be.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: it is not deployed.
            UnavailableError: no instance of it is READY.
        """
        version, instances = await self._router.instances(request.model, request.version, context.time_remaining())
        endpoints = [pb.Route.Endpoint(worker=i.worker, address=i.endpoint) for i in instances]
        return pb.Route(model=version.model, version=version.version, endpoints=endpoints, ttl_ms=TTL_MS)
