"""The asynchronous client."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from modelyard.sdk.artifacts import ArtifactCalls
from modelyard.sdk.connection import Connection
from modelyard.sdk.deployments import DeploymentCalls
from modelyard.sdk.direct import DirectCalls
from modelyard.sdk.discovery import DiscoveryCalls
from modelyard.sdk.inference import InferenceCalls
from modelyard.sdk.jobs.calls import JobCalls
from modelyard.sdk.jobs.large import LargeCalls
from modelyard.sdk.publishing import PublishCalls
from modelyard.sdk.watch import WatchCalls

DEFAULT_ADDRESS = "127.0.0.1:8001"


class Client(PublishCalls, ArtifactCalls, DiscoveryCalls, WatchCalls, DeploymentCalls, InferenceCalls, LargeCalls):
    """A client of one Modelyard, through its front door; batch jobs are below `jobs`.

    Use it as a context manager: `async with Client() as client: await client.infer("digits", {"x": array})`.

    Every call fails with an error of `modelyard.errors`. A call that can be repeated is repeated while the answer is
    UNAVAILABLE, until its deadline; what it then reports is the last such answer.
    """

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, tenant: str = "default", timeout_s: float = 60.0, direct: bool = False
    ) -> None:
        """Name the front door; nothing is opened yet.

        Args:
            address: host:port of the front door.
            tenant: on whose behalf the calls are made.
            timeout_s: the deadline of calls that name none, over all their attempts.
            direct: whether models are called at their runners, where these can be reached: quicker by the front door's
                part of the way. Which runner, the front door says; through it goes what cannot go directly.

        Raises:
            InvalidInputError: the address is not host:port, the tenant's name is malformed, or timeout_s is not a
                finite number above 0.
        """
        super().__init__(Connection(address, tenant, timeout_s))
        self.jobs = JobCalls(self._connection)
        self._direct = DirectCalls(self._connection) if direct else None

    async def __aenter__(self) -> Self:
        """Open the channel; a connection is made by the first call."""
        self._connection.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the channels; calls in flight are cancelled."""
        if self._direct is not None:
            await self._direct.close()
        await self._connection.close()

    async def wait_connected(self, timeout_s: float) -> None:
        """Return once the front door can be reached; raise UnavailableError if that takes over `timeout_s` seconds."""
        await self._connection.wait_connected(timeout_s)
