"""`python -m modelyard_worker.jobs.reader`: execute tasks of jobs at the instance of a runner, as the agent orders.

It reads Orders from standard input and writes Reports to the agent's pipe (modelyard_worker.jobs.assignment), after
{"state": "ready"} and between {"state": "beat"} twice a second.
"""

from __future__ import annotations

import os
from functools import partial

import uvloop

from modelyard import codec, garbage, log
from modelyard.memory import share_heap
from modelyard.process import Parent
from modelyard.rpc.server import on_termination
from modelyard.tasks import background, serving
from modelyard_worker.jobs.assignment import Order, Report
from modelyard_worker.jobs.reader.attempts import Attempts
from modelyard_worker.runner.pulse import Pulse


async def serve(parent: Parent) -> None:
    """Execute what is ordered, until SIGTERM; what is under way then is dropped."""
    stop = on_termination()
    garbage.spare()
    attempts = Attempts(partial(_tell, parent))
    parent.report(state="ready")
    parent.start_beating(Pulse().beats)
    try:
        async with background(_follow(parent, attempts)):
            await stop.wait()
    finally:
        await attempts.close()


async def _follow(parent: Parent, attempts: Attempts) -> None:
    async for line in parent.orders():
        await attempts.take(codec.decode(Order, line))


def _tell(parent: Parent, report: Report) -> None:
    parent.tell(codec.encode(report))


def main() -> None:
    """Serve."""
    share_heap()
    parent = Parent(dict(os.environ))
    log.configure("reader")
    uvloop.run(serving(serve(parent)))


if __name__ == "__main__":
    main()
