"""Asking a server for its health."""

from __future__ import annotations

import grpc.aio
from grpc_health.v1 import health_pb2

from modelyard.errors import UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import error_of

_SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"]


async def check_serving(address: str, timeout_s: float) -> None:
    """Return if the server at host:port says that it serves.

    Raises:
        UnavailableError: it says that it does not, or does not answer in time.
    """
    async with open_channel(address) as channel:
        try:
            reply = await Stub(channel, _SERVICE).Check(health_pb2.HealthCheckRequest(), timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise UnavailableError(f"no answer from {address}: {error_of(error).message}") from error
    if reply.status != health_pb2.HealthCheckResponse.SERVING:
        status = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status)
        raise UnavailableError(f"{address} answers {status}")
