"""Background work of a service: it ends with its scope, and its failure ends the service."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
_failures: contextvars.ContextVar[list[BaseException] | None] = contextvars.ContextVar(
    "modelyard_failures", default=None
)


async def serving(service: Coroutine[Any, Any, None]) -> None:
    """Run a service to its end.

    Raises:
        BackgroundError: it was ended by a failure of its background work.
    """
    failures: list[BaseException] = []
    _failures.set(failures)
    await service
    if failures:
        raise BackgroundError(f"background work failed: {failures[0]!r}") from failures[0]


class BackgroundError(Exception):
    """A service could not go on: background work of it failed."""


@contextlib.asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run coroutines until the scope ends, then cancel them and wait for their end.

    One that fails before that is a bug: it is logged with its stack and the process is asked to stop, so that what
    supervises it starts it anew.
    """
    tasks = [asyncio.ensure_future(work) for work in works]
    for task in tasks:
        task.add_done_callback(stop_on_failure)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextlib.contextmanager
def heeding_cancellation() -> Iterator[None]:
    """Cancel after all where what is done within may swallow it, as some drivers do.

    Not for a task group: see `in_own_task`.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        yield
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a task of its own, which is cancelled and waited for if the caller is.

    A task group cancels the task that it is in when one of its tasks fails, and swallows that again: together with a
    cancellation that comes from elsewhere at the same time, and while it ends it leaves its own counted (Python 3.11).
    So who is to go on after the failure of a group, and to end when cancelled, has it in another task.
    """
    running = asyncio.ensure_future(work)
    try:
        await asyncio.wait([running])
    except asyncio.CancelledError:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)  # its own failure, if any, does not matter any more
        raise
    return await running


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Run a coroutine to its end, unless the event is set first: then cancel it. Return whether it came to its end."""
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(stop.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if ended := tasks[0].done():
            tasks[0].result()
        return ended
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def to_its_end(work: Callable[[], T]) -> T:
    """Run it in a thread; whoever cancels this waits for it, since a thread cannot be called back."""
    return await completed(asyncio.to_thread(work))


async def completed(work: Coroutine[Any, Any, T]) -> T:
    """Run what must not be left half done; whoever cancels this waits for its end.

    Such as to send the metadata of a call: a call in which that was begun, and is not known to be done, cannot be ended
    with a status (grpc.aio sends them again then, which is refused).
    """
    running = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])  # its own failure, if any, does not matter any more
        raise


async def until(stop: asyncio.Event, stream: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield what a stream yields, to its end or until the event is set; either way the stream is closed."""
    stopped, part = asyncio.ensure_future(stop.wait()), None
    context = contextvars.copy_context()
    try:
        while not stop.is_set():
            part = asyncio.create_task(_next(stream), context=context)
            await asyncio.wait([part, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not part.done() or not (found := part.result()):
                return
            yield found[0]
    finally:
        tasks = [stopped, part] if part else [stopped]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stream.aclose()


async def _next(stream: AsyncGenerator[T, None]) -> tuple[T] | None:
    """The next of a stream; None at its end."""
    async for part in stream:
        return (part,)
    return None


def stop_on_failure(task: asyncio.Future[Any]) -> None:
    """As a task's done callback: a failure that nobody foresaw is logged, and the process is asked to stop.

    Its status is not 0 then, if its service runs within `serving`.
    """
    if not task.cancelled() and (error := task.exception()):
        log.error("background work failed, stopping", exc_info=error)
        if (failures := _failures.get()) is not None:
            failures.append(error)
        os.kill(os.getpid(), signal.SIGTERM)
