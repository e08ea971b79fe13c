"""The live replicas of a service: a channel to each, kept from call to call; those that are connected take turns."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from modelyard.errors import DeadlineError, ModelyardError, UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import LOST_STATUS, error_of

CONNECT_S = 1.0


class Replicas:
    """Channels to the replicas of a service, which come and go; `close` it in the end.

    While none is announced (etcd was away for longer than their leases), those still connected are used on. One that
    has left keeps its channel as long as it is connected: calls may be under way.
    """

    def __init__(self, role: str, addresses: Callable[[], Iterable[str]]) -> None:
        """Nothing is opened yet.

        Args:
            role: what they are, for messages.
            addresses: returns where those are that are live now, host:port.
        """
        self._role = role
        self._addresses = addresses
        self._channels: dict[str, grpc.aio.Channel] = {}
        self._turn = 0

    def addresses(self) -> list[str]:
        """Where those are that are live now, host:port."""
        return sorted(set(self._addresses()))

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
            where = f"{self._role} at {', '.join(live)}"
            reason = f"{where}: cannot be reached" if live else f"no {self._role} is live"
            raise UnavailableError(reason, retry_after_s=1.0)
        self._turn += 1
        return connected[self._turn % len(connected)]

    @contextlib.asynccontextmanager
    async def stub(self, service: ServiceDescriptor) -> AsyncIterator[Stub]:
        """A stub of the next replica; what its calls fail with leaves the scope as a ModelyardError.

        Raises:
            UnavailableError: no replica is live, or none can be reached.
        """
        stub = Stub(await self.channel(), service)
        try:
            yield stub
        except grpc.aio.AioRpcError as failure:
            raise self._error(failure) from failure

    def _error(self, failure: grpc.aio.AioRpcError) -> ModelyardError:
        """As the SDK takes it: grpc.aio, writing while the server ended the call, loses the server's status."""
        if failure.details() == LOST_STATUS:
            return UnavailableError(f"{self._role}: it ended the call while that was being sent")
        error = error_of(failure)
        if isinstance(error, DeadlineError):  # the limit was this side's: one that is stopped, or cut off, is away
            return UnavailableError(f"{self._role}: it has given no answer in time")
        return error

    async def _forget(self, addresses: Collection[str]) -> None:
        for channel in [self._channels.pop(address) for address in addresses]:
            await channel.close(None)

    async def close(self) -> None:
        """Close all channels; calls that are under way are cancelled."""
        await self._forget(list(self._channels))


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
