"""The live replicas of a service: a channel to each, kept from call to call; they take turns."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterable

import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor

from modelyard.errors import ModelyardError, UnavailableError
from modelyard.rpc.channel import Stub, open_channel
from modelyard.rpc.status import LOST_STATUS, error_of


class Replicas:
    """Stubs of a service, whose replicas come and go."""

    def __init__(self, addresses: Callable[[], Iterable[str]], service: ServiceDescriptor) -> None:
        """`addresses` returns the replicas that are live now."""
        self._addresses = addresses
        self._service = service
        self._links: dict[str, _Link] = {}
        self._turn = 0

    @contextlib.asynccontextmanager
    async def stub(self) -> AsyncIterator[Stub]:
        """A stub of the next replica; what its calls fail with leaves the scope as a ModelyardError.

        Raises:
            UnavailableError: none is live.
        """
        live = sorted(self._addresses())
        await self._leave(set(self._links) - set(live))
        link = self._next(live)
        link.users += 1
        try:
            yield link.stub
        except grpc.aio.AioRpcError as failure:
            error = _error(failure, link.address)
            if isinstance(error, UnavailableError) and self._links.get(link.address) is link:
                del self._links[link.address]  # the next call connects anew
            raise error from failure
        finally:
            link.users -= 1
            if not link.users and self._links.get(link.address) is not link:
                await link.channel.close(None)

    def _next(self, live: list[str]) -> _Link:
        if not live:
            raise UnavailableError(f"no {self._service.name.lower()} is live", retry_after_s=1.0)
        self._turn += 1
        address = live[self._turn % len(live)]
        if address not in self._links:
            self._links[address] = _Link(address, self._service)
        return self._links[address]

    async def _leave(self, gone: set[str]) -> None:
        """Close the channels to some replicas; where a call is under way it is left to its end."""
        for link in [self._links.pop(address) for address in gone]:
            if not link.users:
                await link.channel.close(None)

    async def close(self) -> None:
        """Close all channels; calls that are under way are cancelled."""
        links, self._links = list(self._links.values()), {}
        for link in links:
            await link.channel.close(None)


class _Link:
    """A channel to one replica, and how many calls use it."""

    def __init__(self, address: str, service: ServiceDescriptor) -> None:
        self.address = address
        self.channel = open_channel(address)
        self.stub = Stub(self.channel, service)
        self.users = 0


def _error(failure: grpc.aio.AioRpcError, address: str) -> ModelyardError:
    """As the SDK takes it: grpc.aio, writing while the server ended the call, loses the server's status."""
    if failure.details() == LOST_STATUS:
        return UnavailableError(f"{address}: ended the call while it was being sent")
    return error_of(failure)
