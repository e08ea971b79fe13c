"""The other services over gRPC: channels to live replicas, the registry's versions, the agents' logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping

import grpc
import grpc.aio

from modelyard.catalogue import Version
from modelyard.deployment import Member
from modelyard.errors import UnavailableError
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import error_of
from modelyard.v1 import agent_pb2, registry_pb2

CONNECT_S = 1.0
TIMEOUT_S = 10.0


class Replicas:
    """One channel to each live replica of a service; calls go to those that are connected, in turn.

    While none is announced (etcd was away for longer than their leases), those still connected are used on.
    """

    def __init__(self, role: str, members: Callable[[], Mapping[str, Member]]) -> None:
        self._role = role
        self._members = members
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = 0

    async def channel(self) -> grpc.aio.Channel:
        """Return a channel that is connected.

        Raises:
            UnavailableError: no replica is live, or none can be reached.
        """
        live = sorted({m.address for m in self._members().values()})
        for address in live:
            if address not in self._channels:
                self._channels[address] = open_channel(address)
        await self._forget({a for a in self._channels if a not in live and not _connected(self._channels[a])})
        known = [self._channels[a] for a in live or sorted(self._channels)]
        connected = [c for c in known if _connected(c)] or await _first_connected(known)
        if not connected:
            reason = f"{', '.join(live)} cannot be reached" if live else "none is live"
            raise UnavailableError(f"{self._role}: {reason}", retry_after_s=1.0)
        self._turn += 1
        return connected[self._turn % len(connected)]

    async def _forget(self, addresses: set[str]) -> None:
        for channel in [self._channels.pop(address) for address in addresses]:
            await channel.close(None)

    async def close(self) -> None:
        """Close every channel."""
        await self._forget(set(self._channels))


def _connected(channel: grpc.aio.Channel) -> bool:
    return channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY


async def _first_connected(channels: list[grpc.aio.Channel]) -> list[grpc.aio.Channel]:
    """Wait up to CONNECT_S for one of them."""
    waits = [asyncio.ensure_future(channel.channel_ready()) for channel in channels]
    if waits:
        await asyncio.wait(waits, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)  # one that was forgotten meanwhile fails
    return [channel for channel in channels if _connected(channel)]


async def find_version(registries: Replicas, model: str, reference: str) -> Version:
    """Ask the registry for a version, an alias's or (empty) the newest."""
    stub = Stub(await registries.channel(), registry_pb2.DESCRIPTOR.services_by_name["Registry"])
    try:
        request = registry_pb2.GetVersionRequest(model=model, version=reference)
        return convert.version_from_pb(await stub.GetVersion(request, timeout=TIMEOUT_S))
    except grpc.aio.AioRpcError as failure:
        raise error_of(failure) from failure


async def read_log(agent: str, instance: str, tail_bytes: int) -> AsyncIterator[bytes]:
    """Stream the end of an instance's log from the agent at host:port."""
    async with open_channel(agent) as channel:
        stub = Stub(channel, agent_pb2.DESCRIPTOR.services_by_name["Agent"])
        request = agent_pb2.ReadInstanceLogRequest(instance=instance, tail_bytes=tail_bytes)
        try:
            async for part in stub.ReadInstanceLog(request, timeout=TIMEOUT_S):
                yield part.data
        except grpc.aio.AioRpcError as failure:
            raise error_of(failure) from failure
