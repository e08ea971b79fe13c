"""The synchronous client: the asynchronous one on an event loop of its own, in a background thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

from modelyard import aio
from modelyard.errors import CancelledError

P = ParamSpec("P")
T = TypeVar("T")


def _blocking(
    method: Callable[Concatenate[aio.Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return call


def _blocking_stream(
    method: Callable[Concatenate[aio.Client, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Client, P], Iterator[T]]:
    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        answers = method(self._client, *args, **kwargs)
        while True:
            try:
                answer = self._run(_next(answers))
            except StopAsyncIteration:
                return
            try:
                yield answer
            except GeneratorExit:
                if not self._loop.is_closed():
                    self._run(answers.aclose())
                raise

    return call


async def _next(answers: AsyncGenerator[T, None]) -> T:
    """The next answer; a generator that is interrupted meanwhile is closed here, where it cannot be running."""
    try:
        return await anext(answers)
    except asyncio.CancelledError:
        await answers.aclose()
        raise


class Client:
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
        self._client = aio.Client(address, tenant=tenant, timeout_s=timeout_s, direct=direct)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="modelyard-client", daemon=True)
        self._closing = threading.Lock()
        self._thread.start()
        self._run(self._client.__aenter__())

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
        with self._closing:
            if self._loop.is_closed():
                return
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @property
    def revision(self) -> int:
        """The newest revision of the catalogue that an answer to this client has seen; 0: none yet."""
        return self._client.revision

    async def _end(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await self._client.__aexit__(None, None, None)
        await self._loop.shutdown_default_executor()

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            call.close()
            raise RuntimeError("the client is closed")
        future = asyncio.run_coroutine_threadsafe(call, self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise CancelledError("the client was closed") from None
        except BaseException:
            # Interrupted while waiting: the call is of no use any more.
            future.cancel()
            raise

    wait_connected = _blocking(aio.Client.wait_connected)

    register_model = _blocking(aio.Client.register_model)
    update_model = _blocking(aio.Client.update_model)
    model = _blocking(aio.Client.model)
    models = _blocking(aio.Client.models)
    delete_model = _blocking(aio.Client.delete_model)
    undelete_model = _blocking(aio.Client.undelete_model)

    push = _blocking(aio.Client.push)
    version = _blocking(aio.Client.version)
    versions = _blocking(aio.Client.versions)
    update_version = _blocking(aio.Client.update_version)
    delete_version = _blocking(aio.Client.delete_version)
    undelete_version = _blocking(aio.Client.undelete_version)
    compare = _blocking(aio.Client.compare)

    set_alias = _blocking(aio.Client.set_alias)
    delete_alias = _blocking(aio.Client.delete_alias)
    history = _blocking(aio.Client.history)
    rollback = _blocking(aio.Client.rollback)

    search = _blocking(aio.Client.search)
    watch = _blocking_stream(aio.Client.watch)

    manifest = _blocking(aio.Client.manifest)
    pull = _blocking(aio.Client.pull)
    read_file = _blocking_stream(aio.Client.read_file)
    collect_garbage = _blocking(aio.Client.collect_garbage)

    deploy = _blocking(aio.Client.deploy)
    undeploy = _blocking(aio.Client.undeploy)
    deployment = _blocking(aio.Client.deployment)
    deployments = _blocking(aio.Client.deployments)
    workers = _blocking(aio.Client.workers)
    explain = _blocking(aio.Client.explain)
    logs = _blocking_stream(aio.Client.logs)
    endpoints = _blocking(aio.Client.endpoints)

    infer = _blocking(aio.Client.infer)
    infer_result = _blocking(aio.Client.infer_result)
    live = _blocking(aio.Client.live)
    ready = _blocking(aio.Client.ready)
    model_ready = _blocking(aio.Client.model_ready)
    server_metadata = _blocking(aio.Client.server_metadata)
    metadata = _blocking(aio.Client.metadata)
