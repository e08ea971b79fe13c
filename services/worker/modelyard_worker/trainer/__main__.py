"""`python -m modelyard_worker.trainer`: a rank of a training job, as the agent orders (modelyard_worker.training).

It reads Orders from standard input and reports {"state": "ready"} once it knows its job, then beats. What is wrong with
the recipe or the data is found afterwards, and told to the control process. Status 0: it has done its part; 75: it is
to be started anew, as what it needs is away, or full; 76: as the ranks are gone that it shared a model with. Why it
fails is reported, too, as {"state": "failed", "reason": ...}.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from modelyard import codec, log
from modelyard.process import Parent, allow_descriptors
from modelyard.rpc.publishing import Publishing
from modelyard.rpc.registry import PATIENCE_S, BlockingSource, RegistrySource
from modelyard.rpc.server import on_termination
from modelyard.rpc.storing import Storing
from modelyard.train.elastic.failures import failed, passes
from modelyard.train.elastic.orders import RestartError
from modelyard_worker.runner.pulse import Pulse
from modelyard_worker.trainer import failing
from modelyard_worker.trainer.rank import Connections, Rank
from modelyard_worker.trainer.stacks import Stacks
from modelyard_worker.training.deaths import AGAIN_STATUS, RESTART_STATUS
from modelyard_worker.training.orders import Begin, Order
from modelyard_worker.training.scratch import STACKS

PUBLISH_PATIENCE_S = 10.0
"""A registry that is away for longer is told of, then waited for again (modelyard_worker.trainer.waiting)."""
TERMINATED = 128 + 15

logger = logging.getLogger(__name__)


class Told:
    """What the agent has told so far."""

    def __init__(self) -> None:
        self.begin: asyncio.Future[Begin] = asyncio.get_running_loop().create_future()
        self.control = ""
        self.registries: tuple[str, ...] = ()

    async def follow(self, parent: Parent) -> None:
        """Take orders, until the agent gives no more."""
        async for line in parent.orders():
            order = codec.decode(Order, line)
            if order.begin is not None:
                self.begin.set_result(order.begin)
            self.control = self.control if order.control is None else order.control
            self.registries = self.registries if order.registries is None else order.registries


async def serve(parent: Parent, stacks: Stacks) -> int:
    """Be a rank; return the exit status. After SIGTERM what a recipe does is not waited for, a script for seconds."""
    stop, told = on_termination(), Told()
    following = asyncio.ensure_future(told.follow(parent))
    ends: list[asyncio.Future[Any]] = [following, asyncio.ensure_future(stop.wait())]
    await asyncio.wait([told.begin, *ends], return_when=asyncio.FIRST_COMPLETED)
    if not told.begin.done():
        return TERMINATED
    stacks.alive()  # the first beat comes later, and the user's code may be stuck by then
    parent.report(state="ready")
    pulse = Pulse()

    def beats() -> bool:
        stacks.alive()
        return pulse.beats()

    parent.start_beating(beats)
    async with AsyncExitStack() as stack:
        work, terminate = _work(told, stack)
        done = _run(work, parent)
        await asyncio.wait([done, *ends], return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            await asyncio.to_thread(terminate)
            _end(TERMINATED)
        return done.result()


def _connect(told: Told, stack: AsyncExitStack) -> Connections:
    source, storing = RegistrySource(lambda: told.registries), Storing(lambda: told.registries)
    publishing = Publishing(lambda: told.registries, PUBLISH_PATIENCE_S)
    for one in (source, storing, publishing):
        stack.push_async_callback(one.close)
    loop = asyncio.get_running_loop()
    return Connections(BlockingSource(source, loop, PATIENCE_S), storing, publishing, loop, lambda: told.control)


def _work(told: Told, stack: AsyncExitStack) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what this process does, in a thread, and what is done before it is ended, in another one."""
    begin = told.begin.result()
    if begin.failed is not None:
        return partial(failing.tell, begin, begin.failed, lambda: told.control), lambda: None
    rank = Rank(begin, _connect(told, stack))
    return rank.run, rank.terminate


def _run(work: Callable[[], None], parent: Parent) -> asyncio.Future[int]:
    """Work in a thread, which nobody waits for when the process is to end."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[int] = loop.create_future()

    def run() -> None:
        status = 0
        try:
            work()
        except BaseException as error:  # whatever ends the thread ends the process
            logger.exception("training failed")
            parent.report(state="failed", reason=failed(error).reason)
            status = _status(error)
        loop.call_soon_threadsafe(done.set_result, status)

    threading.Thread(target=run, name="training", daemon=True).start()
    return done


def _status(error: BaseException) -> int:
    if isinstance(error, RestartError):
        return RESTART_STATUS
    return AGAIN_STATUS if passes(error) else 1


def _end(status: int) -> None:
    """End at once: threads of torch, or of the user's code, are not waited for."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def main() -> None:
    """Serve."""
    allow_descriptors()
    parent = Parent(dict(os.environ))
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    log.configure("trainer")
    _end(uvloop.run(serve(parent, Stacks(Path(STACKS)))))


if __name__ == "__main__":
    main()
