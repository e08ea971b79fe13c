"""`python -m modelyard_worker.runner`: hold the instances that the agent loads into it, and answer their calls.

Reports to the agent over its pipe: {"state": "ready", "address"} once it can be told what to load, then
{"state": "beat"} twice a second, from a thread that computation cannot block, unless the event loop is stuck.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial

import uvloop

from modelyard import garbage, log
from modelyard.config import TEST_RUNTIME
from modelyard.metrics import Journal, inherited
from modelyard.metrics.sampling import Samplers
from modelyard.oip import messages
from modelyard.process import Parent
from modelyard.rpc.server import Server, on_termination
from modelyard.tasks import background
from modelyard.v1 import runner_pb2
from modelyard_worker.runner import inference
from modelyard_worker.runner.inference import InferenceServicer
from modelyard_worker.runner.listener import ExecuteListener
from modelyard_worker.runner.metrics import BatchMetrics, InstanceMetrics
from modelyard_worker.runner.models import Models
from modelyard_worker.runner.pulse import Pulse
from modelyard_worker.runner.servicer import RunnerServicer
from modelyard_worker.runtimes import load

DRAIN_S = 8.0
STOP_S = 1.0
"""After all calls are done: until their answers are sent. Together less than the agent waits before it kills."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the agent asks for.

    Attributes:
        name: of this runner, in its log.
        cores: threads of an instance whose options name none.
        test_runtime: of modelyard_worker.runtimes.load.
    """

    name: str
    host: str
    cores: int
    test_runtime: str = ""


def parse(argv: list[str]) -> Options:
    """Read the flags that the agent passes."""
    parser = argparse.ArgumentParser(prog="python -m modelyard_worker.runner")
    parser.add_argument("--name", default="runner")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--cores", type=int, default=1)
    return Options(**vars(parser.parse_args(argv)))


async def serve(options: Options, parent: Parent, journal: Journal) -> None:
    """Serve until SIGTERM; finish what is under way, within DRAIN_S."""
    stop = on_termination()
    async with AsyncExitStack() as stack:
        models = Models(options.cores, BatchMetrics(journal).observer, partial(load, test_runtime=options.test_runtime))
        listener = ExecuteListener(models)
        execute_port = await listener.start(options.host)
        stack.push_async_callback(listener.close, STOP_S)
        server = Server(options.name)
        server.add(runner_pb2.DESCRIPTOR.services_by_name["Runner"], RunnerServicer(models, execute_port))
        server.add(messages.SERVICE, InferenceServicer(models, stop), inference.RAW_METHODS)
        address = await server.start(f"{options.host}:0")
        stack.push_async_callback(server.stop, STOP_S)
        instances = InstanceMetrics(journal, models.loaded)
        samplers = Samplers(journal, instances.present, instances)
        await stack.enter_async_context(background(samplers.run()))
        garbage.spare()  # before anything is loaded: what is frozen is never given back
        parent.report(state="ready", address=address)
        parent.start_beating(Pulse().beats)
        await stop.wait()
        server.set_serving(False)
        drained = await models.close(DRAIN_S)
    if not drained:
        _log.warning("not drained in time", extra={"drain_s": DRAIN_S})
        os._exit(1)  # a thread is still within an engine, whose code does not survive the interpreter's end


def main() -> int:
    """Serve."""
    environ = dict(os.environ)
    parent, journal = Parent(environ), Journal(inherited(environ))
    options = replace(parse(sys.argv[1:]), test_runtime=environ.get(TEST_RUNTIME, ""))
    log.configure(f"runner {options.name}")
    uvloop.run(serve(options, parent, journal))
    return 0


if __name__ == "__main__":
    sys.exit(main())
