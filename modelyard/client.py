"""The synchronous client: the asynchronous one on an event loop of its own, in a background thread."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy.typing as npt

from modelyard import aio
from modelyard.sdk.blocking import Blocking, LoopThread, blocking, blocking_stream
from modelyard.sdk.jobs import large
from modelyard.sdk.jobs.calls import JobCalls
from modelyard.sdk.jobs.options import JobOptions


class PendingCall(Blocking[large.PendingCall]):
    """A call that was taken, and whose answer can be fetched, here or by another process that has its `id`."""

    @property
    def id(self) -> str:
        """What `Client.handle` takes."""
        return self._inner.id

    done = blocking(large.PendingCall.done)
    cancel = blocking(large.PendingCall.cancel)
    result = blocking(large.PendingCall.result)


class Jobs(Blocking[JobCalls]):
    """Jobs. A `job` is what `submit` or `get` returned, or its id."""

    submit = blocking(JobCalls.submit)
    train = blocking(JobCalls.train)
    logs = blocking_stream(JobCalls.logs)
    get = blocking(JobCalls.get)
    list = blocking(JobCalls.list)
    watch = blocking_stream(JobCalls.watch)
    wait = blocking(JobCalls.wait)
    cancel = blocking(JobCalls.cancel)
    pause = blocking(JobCalls.pause)
    resume = blocking(JobCalls.resume)
    results = blocking(JobCalls.results)
    dead_letters = blocking(JobCalls.dead_letters)
    retry_dead_letters = blocking(JobCalls.retry_dead_letters)


class Client(Blocking[aio.Client]):
    """A client of one Modelyard, through its front door. It may be used from several threads.

    `with Client() as client: client.infer("digits", {"x": array})`. The methods, their arguments and their errors are
    those of `modelyard.aio.Client`; `progress` callbacks run in the client's thread.
    """

    def __init__(
        self,
        address: str = aio.DEFAULT_ADDRESS,
        *,
        tenant: str = "default",
        timeout_s: float = 60.0,
        direct: bool = False,
    ) -> None:
        """Start the client's thread; a connection is made by the first call.

        Args:
            address: host:port of the front door.
            tenant: on whose behalf the calls are made.
            timeout_s: the deadline of calls that name none, over all their attempts.
            direct: whether models are called at their runners, where these can be reached; see `modelyard.aio.Client`.

        Raises:
            InvalidInputError: the address is not host:port, the tenant's name is malformed, or timeout_s is not a
                finite number above 0.
        """
        super().__init__(
            aio.Client(address, tenant=tenant, timeout_s=timeout_s, direct=direct), LoopThread("modelyard-client")
        )
        self._loop.run(self._inner.__aenter__())
        self.jobs = Jobs(self._inner.jobs, self._loop)

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the client."""
        self.close()

    def close(self) -> None:
        """Close the channel and end the thread; calls in flight are cancelled. A second call does nothing."""
        self._loop.close(lambda: self._inner.__aexit__(None, None, None))

    @property
    def revision(self) -> int:
        """The newest revision of the catalogue that an answer to this client has seen; 0: none yet."""
        return self._inner.revision

    wait_connected = blocking(aio.Client.wait_connected)

    register_model = blocking(aio.Client.register_model)
    update_model = blocking(aio.Client.update_model)
    model = blocking(aio.Client.model)
    models = blocking(aio.Client.models)
    delete_model = blocking(aio.Client.delete_model)
    undelete_model = blocking(aio.Client.undelete_model)

    push = blocking(aio.Client.push)
    version = blocking(aio.Client.version)
    versions = blocking(aio.Client.versions)
    update_version = blocking(aio.Client.update_version)
    delete_version = blocking(aio.Client.delete_version)
    undelete_version = blocking(aio.Client.undelete_version)
    compare = blocking(aio.Client.compare)

    set_alias = blocking(aio.Client.set_alias)
    delete_alias = blocking(aio.Client.delete_alias)
    history = blocking(aio.Client.history)
    rollback = blocking(aio.Client.rollback)

    search = blocking(aio.Client.search)
    watch = blocking_stream(aio.Client.watch)

    manifest = blocking(aio.Client.manifest)
    pull = blocking(aio.Client.pull)
    read_file = blocking_stream(aio.Client.read_file)
    collect_garbage = blocking(aio.Client.collect_garbage)

    deploy = blocking(aio.Client.deploy)
    undeploy = blocking(aio.Client.undeploy)
    deployment = blocking(aio.Client.deployment)
    deployments = blocking(aio.Client.deployments)
    workers = blocking(aio.Client.workers)
    explain = blocking(aio.Client.explain)
    logs = blocking_stream(aio.Client.logs)
    endpoints = blocking(aio.Client.endpoints)

    infer = blocking(aio.Client.infer)
    infer_result = blocking(aio.Client.infer_result)
    live = blocking(aio.Client.live)
    ready = blocking(aio.Client.ready)
    model_ready = blocking(aio.Client.model_ready)
    server_metadata = blocking(aio.Client.server_metadata)
    metadata = blocking(aio.Client.metadata)

    map = blocking_stream(aio.Client.map)

    def submit(
        self, name: str, inputs: Mapping[str, npt.ArrayLike], options: JobOptions | None = None, *, version: str = ""
    ) -> PendingCall:
        """Call a model without waiting for its answer, which is kept for some days; as `modelyard.aio.Client`."""
        return PendingCall(self._loop.run(self._inner.submit(name, inputs, options, version=version)), self._loop)

    def handle(self, id: str) -> PendingCall:  # noqa: A002 (what it is)
        """Take up a call by its id, which is looked at when the call is used."""
        return PendingCall(self._inner.handle(id), self._loop)
