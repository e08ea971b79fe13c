"""Ways for chunk traffic: straight to a registry where one can be reached, else through the front door's relay."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import grpc.aio

from modelyard.errors import UnimplementedError
from modelyard.rpc.channel import open_channel
from modelyard.sdk.connection import Connection
from modelyard.sdk.stubs import registry_stub
from modelyard.v1 import scheduler_pb2

REACH_S = 0.5


@dataclass(frozen=True)
class Route:
    """A way to a registry. On a direct one a call fails at once when the registry is gone: the relay is left."""

    registry: Any
    direct: bool


@contextlib.asynccontextmanager
async def routes(connection: Connection) -> AsyncGenerator[list[Route], None]:
    """The ways to try, best first; the last is always the relay."""
    relay = Route(connection.registry, direct=False)
    channel = await _reach(await _registries(connection))
    if channel is None:
        yield [relay]
        return
    try:
        yield [Route(registry_stub(channel), direct=True), relay]
    finally:
        await channel.close(None)


async def _registries(connection: Connection) -> list[str]:
    """Addresses worth a try: a loopback address is ours only if the front door's is one too."""
    request = scheduler_pb2.GetEndpointsRequest()
    try:
        answer = await connection.call(connection.scheduler.GetEndpoints, request)
    except UnimplementedError:
        return []
    here = is_loopback(connection.address)
    return [address for address in answer.registries if here or not is_loopback(address)]


async def _reach(addresses: list[str]) -> grpc.aio.Channel | None:
    """Return a connected channel to the first address that answers within REACH_S."""
    for address in addresses:
        channel = open_channel(address)
        try:
            async with asyncio.timeout(REACH_S):
                await channel.channel_ready()
        except TimeoutError:
            await channel.close(None)
        else:
            return channel
    return None


def is_loopback(address: str) -> bool:
    """Whether host:port names this very machine."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
