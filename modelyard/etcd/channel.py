"""The way to etcd, how every call on it is made, and what becomes of one that fails."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from aetcd import rpc

from modelyard import revisions
from modelyard.backoff import Backoff
from modelyard.errors import ExhaustedError, InvalidInputError, UnavailableError
from modelyard.etcd.members import Member, Members

log = logging.getLogger(__name__)

TIMEOUT_S = 5.0
_BUGS = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.UNIMPLEMENTED,
    grpc.StatusCode.DATA_LOSS,
}
"""What does not pass. All else does: with UNKNOWN etcd reports a proposal that a change of leader dropped, with
NOT_FOUND a lease that has run out, and gRPC has several codes for a connection that broke."""


class HistoryLostError(Exception):
    """etcd no longer has what was asked for, at a revision or from it on: who asked must read everything anew.

    It has been compacted away, or etcd was restored from a backup and is at an earlier revision.
    """


class RefusedError(Exception):
    """etcd does not take a call, and will not take it later: a bug of ours, or a setting of etcd's."""


class Channel:
    """The way to one or several members of etcd."""

    def __init__(self, endpoints: str) -> None:
        """`endpoints`: host:port, several separated by commas; a host is a name or an address."""
        self.endpoints = endpoints
        self._members = Members([e.strip().removeprefix("http://") for e in endpoints.split(",")])

    async def close(self) -> None:
        """Close the channels."""
        await self._members.close()

    @contextlib.asynccontextmanager
    async def _member(self) -> AsyncIterator[Member]:
        """A member to ask; what goes wrong with it is raised as one of our errors, and another comes next."""
        try:
            member = await self._members.pick()
        except UnavailableError as error:
            raise UnavailableError(f"etcd at {self.endpoints}: {error}", retry_after_s=error.retry_after_s) from error
        try:
            yield member
        except UnavailableError:
            self._members.pass_over(member)
            raise
        except grpc.aio.AioRpcError as failure:
            meant = self._error_of(failure)
            if isinstance(meant, UnavailableError):
                self._members.pass_over(member)
            raise meant from failure

    def _error_of(self, failure: grpc.aio.AioRpcError) -> Exception:
        code, details = failure.code(), str(failure.details())
        if code is grpc.StatusCode.OUT_OF_RANGE:
            return HistoryLostError(f"etcd: {details}")
        if _request_is_too_large(code, details):
            return InvalidInputError(f"etcd: {details}")
        if code in _BUGS or "larger than max" in details:
            return RefusedError(f"etcd at {self.endpoints}: {code.name}: {details}")
        kind = ExhaustedError if code is grpc.StatusCode.RESOURCE_EXHAUSTED else UnavailableError
        return kind(f"etcd at {self.endpoints}: {details}", retry_after_s=1.0)

    async def _call(self, service: str, method: str, request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """Make a unary call of one of the services kv and lease."""
        async with self._member() as member:
            reply = await getattr(getattr(member, service), method)(request, timeout=timeout_s)
        revisions.note(reply.header.revision)
        return reply

    async def wait_ready(self) -> None:
        """Return once etcd answers; until then say every few seconds what is waited for."""
        backoff = Backoff(0.05, 2.0)
        while True:
            try:
                await self._call("kv", "Range", rpc.RangeRequest(key=b"/", count_only=True), 2.0)
            except UnavailableError as error:
                delay_s = backoff.next()
                log.warning("waiting for etcd", extra={"endpoints": self.endpoints, "reason": str(error)})
                await asyncio.sleep(delay_s)
            else:
                return


def _request_is_too_large(code: grpc.StatusCode, details: str) -> bool:
    """Whether etcd, or gRPC on its side, says so of what we sent; on ours gRPC says CLIENT of what we got."""
    if code is grpc.StatusCode.INVALID_ARGUMENT:
        return "request is too large" in details
    too_large = code is grpc.StatusCode.RESOURCE_EXHAUSTED and "received message larger than max" in details.lower()
    return too_large and "CLIENT:" not in details
