"""The SDK's way to a front door: one channel, and how every call on it is made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import grpc
import grpc.aio

from modelyard.errors import DeadlineError, InvalidInputError, ModelyardError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion, check_name, parse_reference
from modelyard.rpc.channel import open_channel
from modelyard.rpc.status import LOST_STATUS, MIN_REVISION_KEY, TENANT_KEY, error_of, revision_of
from modelyard.sdk.attempts import Attempts
from modelyard.sdk.settings import check_address, check_timeout
from modelyard.sdk.stubs import Stubs


def resolve(name: str, version: str = "") -> ModelVersion:
    """Read a name or `name@version_or_alias`, and a version beside it; raise InvalidInputError if both are given."""
    reference = parse_reference(name)
    if not version:
        return reference
    if reference.version not in {"", version}:
        raise InvalidInputError(f"version: expected one, got {reference.version!r} and {version!r}")
    return ModelVersion(reference.model, check_name("version", version))


class Connection:
    """One channel to a front door. Every call carries the tenant, has a deadline and fails with a ModelyardError."""

    def __init__(self, address: str, tenant: str, timeout_s: float) -> None:
        """`timeout_s` is the deadline of calls that name none."""
        self.address = check_address(address)
        self.timeout_s = check_timeout(timeout_s)
        self.metadata = ((TENANT_KEY, check_name("tenant", tenant)),)
        self.revision = 0
        """The newest revision of the catalogue that an answer has seen."""
        self._opened: Stubs | None = None

    def open(self) -> None:
        """Open the channel. Call it in the event loop that is to use it."""
        if self._opened is None:
            self._opened = Stubs.over(open_channel(self.address))

    async def close(self) -> None:
        """Close the channel; calls in flight are cancelled."""
        opened, self._opened = self._opened, None
        if opened:
            await opened.channel.close(None)

    @property
    def _open(self) -> Stubs:
        if self._opened is None:
            raise RuntimeError("the client is not open: use it as a context manager")
        return self._opened

    @property
    def registry(self) -> Any:
        """The methods of modelyard.v1.Registry."""
        return self._open.registry

    @property
    def scheduler(self) -> Any:
        """The methods of modelyard.v1.Scheduler."""
        return self._open.scheduler

    @property
    def inference(self) -> Any:
        """The methods of inference.GRPCInferenceService."""
        return self._open.inference

    @property
    def router(self) -> Any:
        """The methods of modelyard.v1.Router."""
        return self._open.router

    @property
    def jobs(self) -> Any:
        """The methods of modelyard.v1.Jobs."""
        return self._open.jobs

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once the front door answers; raise UnavailableError if it has not within `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._open.channel.channel_ready()
        except TimeoutError:
            raise self._unreachable() from None

    def _unreachable(self) -> UnavailableError:
        return UnavailableError(f"{self.address}: nothing answers there")

    def error_of(self, failure: grpc.aio.AioRpcError) -> ModelyardError:
        """The error behind a failed call.

        An UnavailableError too where a call never left for want of a connection, and where grpc.aio, writing while the
        server ended the call, put an error of its own in place of the server's status.
        """
        error = error_of(failure)
        if failure.details() == LOST_STATUS:
            return UnavailableError(f"{self.address}: ended the call while it was being sent")
        late = isinstance(error, DeadlineError) and not self._connected()
        return self._unreachable() if late else error

    @contextlib.asynccontextmanager
    async def within(self, what: str) -> AsyncGenerator[None, None]:
        """Bound one step of a long call by the connection's deadline; `what` says what did not happen in time.

        Raises:
            DeadlineError: the step took too long; an UnavailableError if there is no connection.
        """
        try:
            async with asyncio.timeout(self.timeout_s):
                yield
        except TimeoutError:
            late = DeadlineError(f"{what} within {self.timeout_s:g} s")
            raise late if self._connected() else self._unreachable() from None

    def _connected(self) -> bool:
        return self._opened is None or self._opened.channel.get_state() is grpc.ChannelConnectivity.READY

    def note_revision(self, revision: int) -> None:
        """Say that an answer has seen the catalogue at a revision."""
        self.revision = max(self.revision, revision)

    async def call(
        self, method: Any, request: Any, *, timeout_s: float | None = None, retry: bool = True, at_least: int = 0
    ) -> Any:
        """Make a call and return its answer.

        Args:
            method: a unary method of one of the stubs.
            request: its message.
            timeout_s: the deadline over all attempts; None for the connection's.
            retry: whether to try again where the answer is UNAVAILABLE; only for calls that can be repeated.
            at_least: the revision of the catalogue that the answer must have seen; 0: any.

        Raises:
            PreconditionError: etcd is not at that revision any more; the connection forgets what it has seen of it.
            ModelyardError: the error of the last attempt.
        """
        metadata = (*self.metadata, (MIN_REVISION_KEY, str(at_least))) if at_least else self.metadata
        attempts = Attempts(self.timeout_s if timeout_s is None else timeout_s)
        while True:
            call = method(request, timeout=attempts.left_s(), metadata=metadata, wait_for_ready=True)
            try:
                answer = await call
                self.note_revision(revision_of(await call.trailing_metadata()))
            except grpc.aio.AioRpcError as failure:
                error = self._failed(failure, at_least)
            else:
                return answer
            if not retry:
                raise error
            await asyncio.sleep(attempts.delay_s(error))

    def _failed(self, failure: grpc.aio.AioRpcError, at_least: int) -> ModelyardError:
        """The error behind a failed call, noting what it has seen."""
        error = self.error_of(failure)
        revision = revision_of(failure.trailing_metadata())
        if at_least > revision and isinstance(error, PreconditionError):
            self.revision = revision
        self.note_revision(revision)
        return error

    async def endless(
        self, method: Any, request: Any, attempts: Attempts, *, may_end: bool = False
    ) -> AsyncGenerator[Any, None]:
        """Yield the answers of one call that has no end, or whose end may be far.

        With its first answer `attempts` are restarted; a call that was accepted and breaks without one leaves them
        their time, but not short delays.

        Raises:
            ModelyardError: why it broke; an UnavailableError too where it ended and may not, or was not accepted in
                time.
        """
        call = method(request, metadata=self.metadata, wait_for_ready=True)
        accepted = answered = False
        try:
            async with asyncio.timeout(attempts.left_s()):
                await call.initial_metadata()
            accepted = not call.done()
            async for answer in call:
                answered = True
                yield answer
            if not may_end:
                raise UnavailableError(f"{self.address}: ended a call that has no end")
        except TimeoutError:
            raise self._unreachable() from None
        except grpc.aio.AioRpcError as failure:
            raise self.error_of(failure) from None
        finally:
            call.cancel()
            if answered:
                attempts.restart()
            elif accepted:
                attempts.extend()

    async def stream(self, method: Any, request: Any, timeout_s: float | None = None) -> AsyncGenerator[Any, None]:
        """Yield the answers of a call; it is tried again, as `call` does, until the first of them."""
        attempts = Attempts(self.timeout_s if timeout_s is None else timeout_s)
        started = False
        while True:
            call = method(request, timeout=attempts.left_s(), metadata=self.metadata, wait_for_ready=True)
            try:
                async for answer in call:
                    started = True
                    yield answer
            except grpc.aio.AioRpcError as failure:
                error = self.error_of(failure)
            else:
                return
            finally:
                call.cancel()
            if started:
                raise error
            await asyncio.sleep(attempts.delay_s(error))


class Calls:
    """Some of a client's methods, all on one connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
