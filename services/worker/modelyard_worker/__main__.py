"""`python -m modelyard_worker`: one machine's agent."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import sys
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import IO

import uvloop

from modelyard import codec, keys, log
from modelyard.backoff import Backoff
from modelyard.config import load, parse_pairs
from modelyard.deployment import Member, Worker
from modelyard.errors import PASSING
from modelyard.etcd import Etcd, Mirror
from modelyard.process import Parent
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import agent_pb2
from modelyard_worker.agent import Agent
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.capacity import Capacity, find_capacity
from modelyard_worker.config import Config
from modelyard_worker.instance import RunnerSettings
from modelyard_worker.registry_client import RegistrySource
from modelyard_worker.servicer import AgentServicer

_log = logging.getLogger(__name__)


def lock(data_dir: Path) -> IO[str]:
    """Take the data directory for this process; raise OSError if another worker holds it."""
    data_dir.mkdir(parents=True, exist_ok=True)
    file = (data_dir / "lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise OSError(f"data directory {data_dir}: another worker holds it") from error
    return file


async def open_session(session: Session, etcd: Etcd, data_dir: Path) -> None:
    """Start the session after revoking the lease that an earlier process of this worker left behind."""
    record = data_dir / "lease"

    async def remember(lease_id: int) -> None:
        scratch = record.with_suffix(".new")
        scratch.write_text(str(lease_id))
        scratch.replace(record)

    session.on_lease = remember
    backoff = Backoff(0.2, 2.0)
    while True:
        try:
            if record.exists() and (left := record.read_text()).isdecimal():
                await etcd.revoke(int(left))
            await session.start()
        except PASSING as error:
            _log.warning("waiting for a lease", extra={"reason": str(error)})
            await asyncio.sleep(backoff.next())
        else:
            return


async def announce(session: Session, worker: Worker) -> None:
    """Announce the worker; while another process bears its name, or etcd is away, say so and wait."""
    backoff = Backoff(0.2, 5.0)
    while True:
        try:
            if await session.claim(keys.worker(worker.id), codec.encode(worker)):
                return
            reason = "another process bears it"
        except PASSING as error:
            reason = str(error)
        _log.warning("waiting for this worker's name", extra={"worker": worker.id, "reason": reason})
        await asyncio.sleep(backoff.next())


async def serve(config: Config, capacity: Capacity, labels: dict[str, str], parent: Parent) -> None:
    """Start in the order etcd → gRPC → announce → reconcile; stop in the reverse."""
    stop = on_termination()
    data_dir = Path(config.data_dir)
    advertise = config.advertise or config.host
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(data_dir))
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        if not await unless(stop, etcd.wait_ready()):
            return
        registries = Mirror(etcd, keys.members("registry"), lambda data: codec.decode(Member, data), lambda: None)
        cache = ArtifactCache(
            data_dir / "artifacts", RegistrySource(lambda: [m.address for m in registries.items.values()])
        )
        cache.clean()
        settings = RunnerSettings(config.id, config.host, advertise, max(1, int(capacity.cpu)), data_dir / "logs")
        server = Server(config.id)
        server.add(agent_pb2.DESCRIPTOR.services_by_name["Agent"], AgentServicer(settings.log_directory))
        bound = await server.start(f"{config.host}:{config.port}")
        stack.push_async_callback(server.stop)
        address = f"{advertise}:{bound.rpartition(':')[2]}"
        session = Session(etcd)
        if not await unless(stop, open_session(session, etcd, data_dir)):
            return
        stack.push_async_callback(session.close)
        agent = Agent(etcd, session, cache, settings)
        await stack.enter_async_context(background(session.run(), registries.run(), agent.placements.run()))
        if not await unless(stop, announce(session, _record(config, capacity, labels, address))):
            return
        stack.push_async_callback(agent.close)
        await stack.enter_async_context(background(agent.run()))
        parent.report(state="ready", address=address)
        await stop.wait()
        await session.delete(keys.worker(config.id))


def _record(config: Config, capacity: Capacity, labels: dict[str, str], address: str) -> Worker:
    return Worker(
        id=config.id,
        address=address,
        cpu=capacity.cpu,
        memory_bytes=capacity.memory_bytes,
        incarnation=uuid.uuid4().hex,
        devices=capacity.devices,
        labels=labels,
    )


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        capacity, labels = find_capacity(config.capacity), parse_pairs(config.labels)
    except ValueError as error:
        sys.exit(f"error: {error}")
    try:
        uvloop.run(serving(serve(config, capacity, labels, parent)))
    except (OSError, BackgroundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
