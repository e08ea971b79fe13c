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
from modelyard.etcd import Etcd, Mirror
from modelyard.process import Parent
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import background
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


async def open_session(etcd: Etcd, data_dir: Path) -> Session:
    """Start a session after revoking the lease that an earlier process of this worker left behind."""
    record = data_dir / "lease"
    if record.exists():
        await etcd.revoke(int(record.read_text()))

    async def remember(lease_id: int) -> None:
        record.write_text(str(lease_id))

    session = Session(etcd)
    session.on_lease = remember
    await session.start()
    return session


async def announce(session: Session, worker: Worker) -> None:
    """Announce the worker; while another process bears its name, say so and wait."""
    backoff = Backoff(0.2, 5.0)
    while not await session.claim(keys.worker(worker.id), codec.encode(worker)):
        _log.warning(
            "waiting for this worker's name", extra={"worker": worker.id, "reason": "another process bears it"}
        )
        await asyncio.sleep(backoff.next())


async def serve(config: Config, capacity: Capacity, parent: Parent) -> None:
    """Start in the order etcd → gRPC → announce → reconcile; stop in the reverse."""
    stop = on_termination()
    data_dir = Path(config.data_dir)
    advertise = config.advertise or config.host
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(data_dir))
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        await etcd.wait_ready()
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
        session = await open_session(etcd, data_dir)
        stack.push_async_callback(session.close)
        agent = Agent(etcd, session, cache, settings)
        await announce(session, _record(config, capacity, address))
        await stack.enter_async_context(background(session.run(), registries.run(), agent.placements.run()))
        stack.push_async_callback(agent.close)
        await stack.enter_async_context(background(agent.run()))
        parent.report(state="ready", address=address)
        await stop.wait()
        await session.delete(keys.worker(config.id))


def _record(config: Config, capacity: Capacity, address: str) -> Worker:
    return Worker(
        id=config.id,
        address=address,
        cpu=capacity.cpu,
        memory_bytes=capacity.memory_bytes,
        incarnation=uuid.uuid4().hex,
        devices=capacity.devices,
        labels=parse_pairs(config.labels),
    )


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        capacity = find_capacity(config.capacity)
    except ValueError as error:
        sys.exit(f"error: {error}")
    uvloop.run(serve(config, capacity, parent))


if __name__ == "__main__":
    main()
