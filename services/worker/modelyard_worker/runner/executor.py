"""The thread that executes an instance's calls, in the order they came."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from modelyard.errors import DeadlineError, InternalError, ModelyardError
from modelyard_worker.runner.evaluation import Evaluator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Work:
    """A call that waits: its serialized request, when it is too late (time.monotonic), and who gets the outcome."""

    request: bytes
    expires_s: float | None
    done: Callable[[bytes | ModelyardError], None]


class Executor:
    """Executes calls one after the other in a thread of its own, so that the event loop stays free."""

    def __init__(self, evaluator: Evaluator, loop: asyncio.AbstractEventLoop) -> None:
        self._evaluator = evaluator
        self._loop = loop
        self._queue: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)
        self._thread.start()

    def submit(self, work: Work) -> None:
        """Queue a call; its `done` is called in the event loop."""
        self._queue.put(work)

    async def close(self) -> None:
        """Finish what is queued, then end the thread."""
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            self._loop.call_soon_threadsafe(work.done, self._outcome(work))

    def _outcome(self, work: Work) -> bytes | ModelyardError:
        if work.expires_s is not None and time.monotonic() > work.expires_s:
            return DeadlineError("the deadline passed while the call was queued")
        try:
            return self._evaluator.infer(work.request)
        except ModelyardError as error:
            return error
        except Exception:
            log.exception("unforeseen error in a call")
            return InternalError("internal error in the runner; its log has the stack")
