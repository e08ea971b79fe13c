"""The other services over gRPC: channels to live replicas, the registry's versions, the agents' logs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import grpc
import grpc.aio

from modelyard.catalogue import Lifecycle, Manifest, Version
from modelyard.deployment import Member
from modelyard.errors import DataLossError, NotFoundError, PreconditionError, UnavailableError
from modelyard.rpc import convert
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import TENANT_KEY, error_of
from modelyard.v1 import agent_pb2, registry_pb2

CONNECT_S = 1.0
TIMEOUT_S = 10.0
QUESTION_DIGESTS = 10_000
Metadata = tuple[tuple[str, str], ...]


class Replicas:
    """One channel to each live replica of a service; calls go to those that are connected, in turn.

    While none is announced (etcd was away for longer than their leases), those still connected are used on.
    """

    def __init__(self, role: str, members: Callable[[], Mapping[str, Member]]) -> None:
        self._role = role
        self._members = members
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = 0

    def addresses(self) -> list[str]:
        """Where those are that are live now, host:port."""
        return sorted({member.address for member in self._members().values()})

    async def channel(self) -> grpc.aio.Channel:
        """Return a channel that is connected.

        Raises:
            UnavailableError: no replica is live, or none can be reached.
        """
        live = self.addresses()
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
    request = registry_pb2.GetVersionRequest(model=model, version=reference)
    return convert.version_from_pb(await _ask(registries, "GetVersion", request))


async def find_usable_version(registries: Replicas, model: str, reference: str) -> Version:
    """As `find_version`; raise PreconditionError if the version, or its model, is deleted."""
    version = await find_version(registries, model, reference)
    held = convert.model_from_pb(await _ask(registries, "GetModel", registry_pb2.GetModelRequest(name=model)))
    if Lifecycle.DELETED in {version.state, held.state}:
        what = f"model {model!r}" if held.state is Lifecycle.DELETED else f"{model}@{version.version}"
        raise PreconditionError(f"{what}: it is deleted; undelete it first")
    return version


async def hold_artifact(registries: Replicas, digest: str, tenant: str, upload: str) -> Manifest:
    """Have the registry hold an artifact for a day under the name of an upload; return its manifest.

    Raises:
        NotFoundError: the store has no such manifest.
        DataLossError: it lacks some of the chunks: they were not uploaded, or collected since.
    """
    metadata = ((TENANT_KEY, tenant),)
    held = registry_pb2.FindMissingChunksRequest(digests=[digest], upload=upload)
    if (await _ask(registries, "FindMissingChunks", held, metadata)).digests:
        raise NotFoundError(f"manifest {digest}: not in the artifact store")
    manifest = convert.manifest_from_pb(
        await _ask(registries, "GetManifest", registry_pb2.GetManifestRequest(digest=digest))
    )
    chunks = list(manifest.chunk_sizes())
    for start in range(0, len(chunks), QUESTION_DIGESTS):
        some = chunks[start : start + QUESTION_DIGESTS]
        request = registry_pb2.FindMissingChunksRequest(digests=some, upload=upload)
        missing = (await _ask(registries, "FindMissingChunks", request, metadata)).digests
        if missing:
            raise DataLossError(f"manifest {digest}: {len(missing)} of its chunks are missing, such as {missing[0]}")
    return manifest


async def _ask(registries: Replicas, method: str, request: Any, metadata: Metadata = ()) -> Any:
    stub = Stub(await registries.channel(), registry_pb2.DESCRIPTOR.services_by_name["Registry"])
    try:
        return await getattr(stub, method)(request, timeout=TIMEOUT_S, metadata=metadata)
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
