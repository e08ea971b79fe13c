"""grpc.health.v1: asking a server for its health, and answering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc.aio
from grpc_health.v1 import health_pb2 as pb

from modelyard.errors import NotFoundError, UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.interceptor import Context
from modelyard.rpc.status import error_of

SERVICE = pb.DESCRIPTOR.services_by_name["Health"]


async def check_serving(address: str, timeout_s: float, service: str = "") -> None:
    """Return if the server at host:port says that it, or one of its services, serves.

    Raises:
        UnavailableError: it says that it does not, or does not answer in time.
    """
    async with open_channel(address) as channel:
        try:
            reply = await Stub(channel, SERVICE).Check(pb.HealthCheckRequest(service=service), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"no answer from {address}: {error_of(error).message}") from error
    if reply.status != pb.HealthCheckResponse.SERVING:
        status = pb.HealthCheckResponse.ServingStatus.Name(reply.status)
        raise UnavailableError(f"{address} answers {status}")


class Health:
    """Answers for a server, by names: "" is the server itself.

    Ours and not that of grpcio-health-checking, whose asyncio servicer forgets all who watch a name when one of them
    leaves. A watcher is told what is so now; of changes that follow each other quickly it may miss some.
    """

    def __init__(self) -> None:
        self._serving: dict[str, bool] = {}
        self._ended = False
        self._changed = asyncio.Event()

    @property
    def names(self) -> frozenset[str]:
        """What it answers for."""
        return frozenset(self._serving)

    def set(self, name: str, serving: bool) -> None:
        """Answer so for a name, from now on or until `end`."""
        if self._serving.get(name) is not serving and not self._ended:
            self._serving[name] = serving
            self._tell()

    def remove(self, name: str) -> None:
        """Answer for a name that it is not known."""
        if self._serving.pop(name, None) is not None:
            self._tell()

    def end(self) -> None:
        """Answer NOT_SERVING for every name, for good."""
        self._serving = dict.fromkeys(self._serving, False)
        self._ended = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()  # wakes all who wait now
        self._changed.clear()

    def _answer(self, name: str) -> pb.HealthCheckResponse:
        serving = self._serving.get(name)
        status = {None: "SERVICE_UNKNOWN", True: "SERVING", False: "NOT_SERVING"}[serving]
        return pb.HealthCheckResponse(status=status)

    async def Check(self, request: pb.HealthCheckRequest, context: Context) -> pb.HealthCheckResponse:
        """Say whether it serves; raise NotFoundError for a name that is not known, as the protocol wants it."""
        if request.service not in self._serving:
            raise NotFoundError(f"health: expected the name of a service or a deployed model, got {request.service!r}")
        return self._answer(request.service)

    async def Watch(self, request: pb.HealthCheckRequest, context: Context) -> AsyncIterator[pb.HealthCheckResponse]:
        """Say it now, and whenever it has changed; a name that is not known yet may become so."""
        told = None
        while True:
            if (answer := self._answer(request.service)) != told:
                told = answer
                yield answer
            else:
                await self._changed.wait()
