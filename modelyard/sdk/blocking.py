"""Asynchronous objects for callers who wait: their methods, run in an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar

from modelyard.errors import CancelledError

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C")
C_co = TypeVar("C_co", covariant=True)


class LoopThread:
    """An event loop in a thread."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._closing = threading.Lock()
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing can be run any more."""
        return self._loop.is_closed()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """Wait for a coroutine and return what it returns.

        Raises:
            RuntimeError: the loop was closed before.
            CancelledError: it was closed meanwhile.
        """
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

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Cancel what is running, run `last`, and end the thread. A second call does nothing."""
        with self._closing:
            if self._loop.is_closed():
                return
            self.run(self._end(last))
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if ending := {task for task in asyncio.all_tasks() if task.cancelling()}:
            await asyncio.wait(ending)  # what was interrupted may have something to clean up
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()
        await last()
        await self._loop.shutdown_default_executor()


class Blocking(Generic[C_co]):
    """An asynchronous object, and the loop that it lives in."""

    def __init__(self, inner: C_co, loop: LoopThread) -> None:
        self._inner = inner
        self._loop = loop


def blocking(
    method: Callable[Concatenate[C, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking[C], P], T]:
    """The same method for who waits."""

    @functools.wraps(method)
    def call(self: Blocking[C], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._loop.run(method(self._inner, *args, **kwargs))

    return call


def blocking_stream(
    method: Callable[Concatenate[C, P], AsyncGenerator[T, None]],
) -> Callable[Concatenate[Blocking[C], P], Iterator[T]]:
    """The same method for who waits for each of its answers."""

    @functools.wraps(method)
    def call(self: Blocking[C], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        answers = method(self._inner, *args, **kwargs)
        while True:
            try:
                answer = self._loop.run(_next(answers))
            except StopAsyncIteration:
                return
            try:
                yield answer
            except GeneratorExit:
                if not self._loop.closed:
                    self._loop.run(answers.aclose())
                raise

    return call


async def _next(answers: AsyncGenerator[T, None]) -> T:
    """The next answer; a generator that is interrupted meanwhile is closed here, where it cannot be running."""
    try:
        return await anext(answers)
    except asyncio.CancelledError:
        await answers.aclose()
        raise
