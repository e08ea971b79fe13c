"""Leases: keys that go when they are not renewed."""

from __future__ import annotations

import grpc
import grpc.aio
from aetcd import rpc

from modelyard.etcd.channel import TIMEOUT_S, Channel
from modelyard.etcd.messages import decoded

EOF = grpc.aio.EOF  # type: ignore[attr-defined]


class Leases(Channel):
    """etcd's leases."""

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        return int((await self._call("lease", "LeaseGrant", rpc.LeaseGrantRequest(TTL=ttl_s))).ID)

    async def revoke(self, lease_id: int) -> None:
        """End a lease and all its keys; a lease that is no more is no error."""
        async with self._member() as member:
            try:
                await member.lease.LeaseRevoke(rpc.LeaseRevokeRequest(ID=lease_id), timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as failure:
                if failure.code() is not grpc.StatusCode.NOT_FOUND:
                    raise

    async def keys_under(self, lease_id: int) -> set[str]:
        """Return the keys that end with a lease; none if it is no more."""
        reply = await self._call("lease", "LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=lease_id, keys=True))
        return {decoded(key) for key in reply.keys}

    async def keep_alive(self, lease_id: int) -> bool:
        """Renew a lease; False if it is no more."""
        async with self._member() as member:
            call = member.lease.LeaseKeepAlive(timeout=TIMEOUT_S)
            try:
                await call.write(rpc.LeaseKeepAliveRequest(ID=lease_id))
                reply = await call.read()
            finally:
                call.cancel()
        return reply is not EOF and reply.TTL > 0
