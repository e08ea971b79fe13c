"""`python -m modelyard_worker.runner`: load one version and serve its execute streams.

Reports to the agent over its pipe: {"state": "ready", "address", "signature", "platform"} once, or {"state": "failed",
"reason"} before it exits; then {"state": "beat"} twice a second, from a thread that computation cannot block.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
import threading
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import uvloop

from modelyard import codec, log
from modelyard.errors import ModelyardError
from modelyard.names import ModelVersion, parse_reference
from modelyard.process import Parent
from modelyard.rpc.server import Server, on_termination
from modelyard.v1 import runner_pb2
from modelyard_worker.runner.evaluation import Evaluator
from modelyard_worker.runner.executor import Executor
from modelyard_worker.runner.servicer import RunnerServicer
from modelyard_worker.runtimes import Runtime, load

BEAT_S = 0.5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What the agent asks for."""

    instance: ModelVersion
    worker: str
    format: str
    directory: Path
    host: str
    threads: int


def parse(argv: list[str]) -> Options:
    """Read the flags that the agent passes."""
    parser = argparse.ArgumentParser(prog="python -m modelyard_worker.runner")
    parser.add_argument("--instance", required=True, type=parse_reference)
    parser.add_argument("--worker", required=True)
    parser.add_argument("--format", required=True)
    parser.add_argument("--directory", required=True, type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--threads", type=int, default=1)
    return Options(**vars(parser.parse_args(argv)))


async def serve(options: Options, runtime: Runtime, parent: Parent) -> None:
    """Serve until SIGTERM; finish what is under way."""
    stop = on_termination()
    async with AsyncExitStack() as stack:
        evaluator = Evaluator(options.instance, options.worker, runtime)
        executor = Executor(evaluator, asyncio.get_running_loop())
        stack.push_async_callback(executor.close)
        server = Server(str(options.instance))
        service = runner_pb2.DESCRIPTOR.services_by_name["Runner"]
        server.add(service, RunnerServicer({str(options.instance): executor}))
        address = await server.start(f"{options.host}:0")
        stack.push_async_callback(server.stop)
        signature = codec.encode(runtime.signature).decode()
        parent.report(state="ready", address=address, signature=signature, platform=runtime.platform)
        _start_beating(parent)
        await stop.wait()


def _start_beating(parent: Parent) -> None:
    pause = threading.Event()

    def beat() -> None:
        while not pause.wait(BEAT_S):
            parent.report(state="beat")

    threading.Thread(target=beat, name="heartbeat", daemon=True).start()


def main() -> int:
    """Load, say how it went, serve."""
    parent = Parent(dict(os.environ))
    options = parse(sys.argv[1:])
    log.configure(f"runner {options.instance}")
    try:
        runtime = load(options.format, options.directory, options.threads)
    except Exception as error:
        reason = error.message if isinstance(error, ModelyardError) else f"{type(error).__name__}: {error}"
        _log.exception("load failed")
        parent.report(state="failed", reason=reason)
        return 1
    _log.info("model loaded", extra={"platform": runtime.platform, "threads": options.threads})
    uvloop.run(serve(options, runtime, parent))
    return 0


if __name__ == "__main__":
    sys.exit(main())
