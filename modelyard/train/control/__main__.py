"""`python -m modelyard.train.control`: the control process of one training job.

It reports to its parent {"state": "waiting"} while another process holds the job, {"state": "ready", "address": ...}
once it is this one, and beats. How the job goes it writes to etcd (modelyard.train.control.reporting). Its parent may
write a Stop, as JSON on a line, to its standard input. It ends when the job has ended, when it is told to (SIGTERM:
members train on, and another process takes its place), and when the job is not its own any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import stat
import sys
import time
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from modelyard import codec, keys
from modelyard import log as logs
from modelyard.config import load
from modelyard.deployment import Member
from modelyard.errors import PASSING, InvalidInputError, ModelyardError
from modelyard.etcd import Etcd, Mirror
from modelyard.process import Parent, allow_descriptors
from modelyard.rpc.server import on_termination
from modelyard.session import Election, Term
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.train.control.admission import Admission
from modelyard.train.control.config import Config
from modelyard.train.control.fence import DeposedError, Fence, bury
from modelyard.train.control.limits import Limits
from modelyard.train.control.messages import Stop
from modelyard.train.control.progress import Progress
from modelyard.train.control.replicas import members
from modelyard.train.control.reporting import Reporting, is_over, last_report
from modelyard.train.control.service import Service
from modelyard.train.control.store import Store

log = logging.getLogger(__name__)


async def serve(config: Config, parent: Parent) -> None:
    """Start in the order store → etcd → ownership of the job → members; stop in the reverse.

    Raises:
        DeposedError: another process has taken the place of this one, or may.
        ModelyardError: it cannot be started.
    """
    stop = on_termination()
    limits = _checked(config)
    async with AsyncExitStack() as stack:
        store, listener = Store(config.host), _listener(config)
        stack.callback(listener.close)
        host = config.advertise or config.host
        address = f"{host}:{listener.getsockname()[1]}"
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        parent.report(state="waiting")
        parent.start_beating()
        term = await _own(etcd, config, address, stop)
        if term is None:
            return
        stack.push_async_callback(_resign, term)
        before = await last_report(etcd, config.job)
        if is_over(before):
            return
        fence = Fence(etcd, config.job, term)
        last = await fence.read()
        membership = members(limits, f"{host}:{store.port}", last.formation, time.monotonic())
        reporting = Reporting(etcd, fence.conditions, config, before)
        progress = Progress(reporting, last.formation.checkpoint)
        admission = Admission(config.job, config.secret, config.agreement or last.agreement)
        service = Service(admission, membership, fence, progress)
        await service.start(listener)
        stack.push_async_callback(service.close)
        parent.report(state="ready", address=address)
        places = _places(etcd, config.job, service)
        async with background(progress.run(), reporting.run(), _follow(parent, service), places.run()):
            await _until_end(service, term, stop)
            await _unless_deposed(term, service.conclude())
        await progress.flush()
        await _unless_deposed(term, reporting.end(stopped=service.stopped))
        if service.ended.is_set():
            service.dismiss()


def _checked(config: Config) -> Limits:
    least, most = config.min_workers, config.max_workers
    if not 1 <= least <= most:
        raise InvalidInputError(f"expected 1 <= min_workers <= max_workers, got {least} and {most}")
    if config.replica < 1 or most % config.replica:
        raise InvalidInputError(f"expected max_workers that are a multiple of {config.replica}, got {most}")
    if not config.job or not config.secret:
        raise InvalidInputError("expected a job and its secret, got none")
    times = {"settle_s": config.settle_s, "form_s": config.form_s}
    return Limits(least, most, config.expected, replica=config.replica, **times)


def _listener(config: Config) -> socket.socket:
    name = config.host.strip("[]")
    family = socket.getaddrinfo(name, config.port, type=socket.SOCK_STREAM)[0][0]
    return socket.create_server((name, config.port), family=family)


async def _own(etcd: Etcd, config: Config, address: str, stop: asyncio.Event) -> Term | None:
    """Announce this process as that of the job, as soon as there is no other; None: it is to stop."""
    value = codec.encode(Member(config.id, address))
    election = Election(etcd, keys.training_control(config.job), value, config.lease_s)
    terms: list[Term] = []

    async def campaign() -> None:
        await etcd.wait_ready()
        with contextlib.suppress(*PASSING):  # then its lease runs out
            await bury(etcd, config.job, config.id)
        terms.append(await election.campaign())

    return terms[0] if await unless(stop, campaign()) else None


async def _resign(term: Term) -> None:
    try:
        await term.resign()
    except PASSING as error:
        log.warning("lease left to run out", extra={"reason": str(error)})


async def _follow(parent: Parent, service: Service) -> None:
    """Stop the job when the parent says so, if it started this process with a way to."""
    mode = os.fstat(sys.stdin.fileno()).st_mode
    if not stat.S_ISFIFO(mode) and not stat.S_ISSOCK(mode):
        return
    async for line in parent.orders():
        order = codec.decode(Stop, line)
        service.stop(order.reason, save=order.save)


def _places(etcd: Etcd, job: str, service: Service) -> Mirror[int]:
    """Tell the service for how many ranks there are places, as the leading scheduler writes it down."""
    key = keys.training_places(job)
    mirror = Mirror(etcd, key, lambda data: codec.decode(int, data), lambda: service.place(mirror.items.get("")))
    return mirror


async def _until_end(service: Service, term: Term, stop: asyncio.Event) -> None:
    """Return when the job has ended, or this process is to stop."""
    works = [asyncio.ensure_future(work) for work in (service.run(), _hold(term), stop.wait(), service.ended.wait())]
    try:
        done, _ = await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        for work in done:
            work.result()
    finally:
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)


async def _unless_deposed(term: Term, work: Coroutine[Any, Any, None]) -> None:
    """Do something while the job is this process's: the lease is kept alive meanwhile."""
    holding = asyncio.ensure_future(_hold(term))
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait([holding, working], return_when=asyncio.FIRST_COMPLETED)
        (working if working.done() else holding).result()
    finally:
        for task in (holding, working):
            task.cancel()
        await asyncio.gather(holding, working, return_exceptions=True)


async def _hold(term: Term) -> None:
    await term.hold()
    raise DeposedError("the lease of this control process has run out")


def main() -> None:
    """Read the configuration and serve until the job has ended, or SIGTERM."""
    allow_descriptors()
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    logs.configure(config.id, config.log_level)
    try:
        uvloop.run(serving(serve(config, parent)))
    except (OSError, ModelyardError, BackgroundError, DeposedError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
