"""The members of etcd that we know of, each behind a channel of its own, and which of them is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import grpc
import grpc.aio
from aetcd import rpc

from modelyard.errors import UnavailableError

CONNECT_S = 2.0
"""How long a member that has failed is left alone while another is tried, and so long again until it is given up."""
CHANNEL_OPTIONS = [
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.http2.ping_timeout_ms", 3_000),
    ("grpc.max_receive_message_length", 1 << 30),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


class Member:
    """One endpoint, by name or by address; gRPC looks a name up anew whenever it connects."""

    def __init__(self, endpoint: str) -> None:
        self.channel = grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
        self.kv = rpc.KVStub(self.channel)
        self.watch = rpc.WatchStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)

    @property
    def connected(self) -> bool:
        """Whether calls can be sent at once."""
        return self.channel.get_state() is grpc.ChannelConnectivity.READY


class Members:
    """Stays with one member until a call to it fails, then goes to another that can be reached.

    gRPC's own balancing takes several addresses, but not several names.
    """

    def __init__(self, endpoints: Sequence[str]) -> None:
        self._members = [Member(endpoint) for endpoint in endpoints]
        self._failed: Member | None = None

    async def close(self) -> None:
        """Close the channels."""
        for member in self._members:
            await member.channel.close(None)

    def pass_over(self, member: Member) -> None:
        """Say that a call to a member failed: the others come first."""
        self._members.remove(member)
        self._members.append(member)
        self._failed = member

    async def pick(self) -> Member:
        """Return the member to ask; raise UnavailableError if there are several, and none of them can be reached."""
        first = self._members[0]
        if len(self._members) == 1 or first.connected:
            return first
        others = [member for member in self._members if member is not self._failed]
        found = await _first_connected(others) or await _first_connected(self._members)
        if found is None:
            raise UnavailableError("none of these can be reached", retry_after_s=1.0)
        self._members.remove(found)
        self._members.insert(0, found)
        return found


async def _first_connected(members: Sequence[Member]) -> Member | None:
    """Connect to all of them; return the first that is, None if none is in time."""
    tries = {asyncio.ensure_future(member.channel.channel_ready()): member for member in members}
    try:
        done, _ = await asyncio.wait(tries, timeout=CONNECT_S, return_when=asyncio.FIRST_COMPLETED)
        return next((member for attempt, member in tries.items() if attempt in done), None)
    finally:
        for attempt in tries:
            attempt.cancel()
        await asyncio.gather(*tries, return_exceptions=True)
