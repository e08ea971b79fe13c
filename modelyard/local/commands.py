"""`up`, `down` and `status`, for the command line and for tests."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from modelyard import log
from modelyard.errors import ModelyardError
from modelyard.local import detached, ending, health
from modelyard.local.plan import Ports, UpOptions, environment, programs
from modelyard.local.settings import Asked, remember, settle
from modelyard.local.state import Layout, Lock, ProcessStatus, State, Status
from modelyard.local.suite import Suite
from modelyard.process import Parent
from modelyard.rpc.server import on_termination

__all__ = ["Asked", "ProcessStatus", "State", "Status", "UpOptions", "down", "status", "up"]


def up(options: UpOptions) -> int:
    """Run the suite until SIGTERM or SIGINT; print one line when it is ready. Detached, return at that point.

    Raises:
        InvalidInputError: a number is out of its range.
        PreconditionError: a suite runs in that directory, its artifacts are in another store, the port is taken, or a
            program is not installed.
        UnavailableError: a process does not start.
    """
    options.check()
    if options.detach:
        print(detached.start(options), flush=True)
        return 0
    environ = dict(os.environ)
    parent = Parent(environ)
    try:
        _run(options, environ, parent)
    except ModelyardError as error:
        parent.report(state="failed", error=type(error).__name__, status=error.status, message=error.message)
        raise
    return 0


def _run(options: UpOptions, environ: Mapping[str, str], parent: Parent) -> None:
    began_s = time.monotonic()
    layout = Layout(options.directory)
    layout.create()
    with ExitStack() as stack:
        stack.callback(Lock(layout).release)
        ports = Ports(options.port, options.workers)
        stack.callback(ports.release)
        address = ports.front_door.address
        blank = Status(running=True, directory=str(layout.root), pid=os.getpid(), address=address)
        inherited = environment(options.workers, environ)
        settings = settle(layout, options.asked)
        make_suite = partial(Suite, programs(options, settings, layout, ports), layout, inherited, blank)
        log.configure("up", stream=stack.enter_context(layout.log("up").open("a")))
        stack.callback(layout.forget)

        def announce() -> None:
            what = f"{options.workers} worker{'' if options.workers == 1 else 's'}, state in {options.directory}"
            remember(layout, settings)
            line = f"modelyard ready on {address} ({what}, {time.monotonic() - began_s:.1f} s)"
            print(line, flush=True)
            parent.report(state="ready", address=address, line=line)

        asyncio.run(_supervise(make_suite, announce))


async def _supervise(make_suite: Callable[[], Suite], announce: Callable[[], None]) -> None:
    stop = on_termination()
    await make_suite().run(stop, announce)


def down(directory: Path) -> int:
    """Stop the suite of the directory and wait until no process of it is left; print a line that says so."""
    layout = Layout(directory)
    pid = layout.holder()
    if pid:
        ending.end_suite(pid)
    ending.end_orphans(p.process for p in layout.read().processes)
    layout.forget()
    print(f"modelyard {'stopped' if pid else 'does not run'} in {directory}", flush=True)
    return 0


def status(directory: Path) -> Status:
    """Return how the suite of the directory is: what it says of itself, held against the kernel and each process."""
    return asyncio.run(health.inspect(Layout(directory)))
