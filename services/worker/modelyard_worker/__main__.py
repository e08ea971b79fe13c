"""`python -m modelyard_worker`: one machine's agent."""

from __future__ import annotations

import logging
import os
import sys
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import uvloop

from modelyard import codec, keys, log
from modelyard.config import load, parse_bytes, parse_pairs, without_settings
from modelyard.dependency import Dependency, of_etcd, of_redis
from modelyard.deployment import Member, Worker
from modelyard.etcd import Etcd, Mirror
from modelyard.jobs.gang import CODE_LABEL
from modelyard.metrics import families
from modelyard.metrics.replica import ReplicaMetrics
from modelyard.metrics.sampling import Samplers
from modelyard.metrics.vitals import Vitals
from modelyard.process import Parent, allow_descriptors
from modelyard.queue import RedisQueue
from modelyard.redis import Redis
from modelyard.rpc.registry import RegistrySource
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import agent_pb2
from modelyard_worker.agent import Agent, Host
from modelyard_worker.cache import ArtifactCache
from modelyard_worker.capacity import Capacity, find_capacity
from modelyard_worker.config import Config
from modelyard_worker.drain import drain
from modelyard_worker.jobs.puller import Puller
from modelyard_worker.jobs.reader_process import ReaderSettings
from modelyard_worker.logs import RunnerLogs
from modelyard_worker.membership import announce, lock, open_session
from modelyard_worker.metrics import WorkerMetrics
from modelyard_worker.runner_process import RunnerSettings
from modelyard_worker.runners import Runners
from modelyard_worker.servicer import AgentServicer
from modelyard_worker.training.process import TrainingSettings
from modelyard_worker.training.scratch import cleared
from modelyard_worker.training.seats import Gangs

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Start:
    """What a worker starts from: its configuration, read and checked.

    Attributes:
        environ: what its runners get.
    """

    config: Config
    capacity: Capacity
    labels: dict[str, str]
    cache_bytes: int
    environ: dict[str, str]


async def serve(start: Start, parent: Parent) -> None:
    """Start metrics → etcd → gRPC → announce → reconcile, Redis there or not; stop in the reverse, after draining."""
    stop = on_termination()
    config = start.config
    data_dir = Path(config.data_dir)
    async with AsyncExitStack() as stack:
        stack.enter_context(lock(data_dir))
        metrics = await stack.enter_async_context(ReplicaMetrics("worker", data_dir / "metrics"))
        page = await metrics.serve(config.host, config.metrics_port)
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        if not await unless(stop, etcd.wait_ready()):
            return
        redis = Redis(config.redis)
        stack.push_async_callback(redis.close)

        def live() -> list[str]:
            return [member.address for member in registries.items.values()]

        logs = RunnerLogs(data_dir / "logs")
        puller, gangs = _puller(start, redis, live, metrics), Gangs(_training(start, logs, live), etcd)
        announcing = partial(_announce_registries, puller, gangs)
        registries = Mirror(etcd, keys.members("registry"), lambda data: codec.decode(Member, data), announcing)
        source = RegistrySource(live)
        stack.push_async_callback(source.close)
        session = Session(etcd, config.lease_s)
        agent = _agent(start, etcd, session, source, logs, metrics)
        agent.admit, agent.gangs = puller.admit, gangs
        server = Server(config.id)
        server.add(agent_pb2.DESCRIPTOR.services_by_name["Agent"], AgentServicer(logs, agent.runners_of))
        bound = await server.start(f"{config.host}:{config.port}")
        stack.push_async_callback(server.stop)
        if not await unless(stop, open_session(session, etcd, data_dir)):
            return
        stack.push_async_callback(session.close)
        await stack.enter_async_context(background(session.run(), registries.run(), agent.placements.run()))
        worker = _record(start, f"{config.advertise or config.host}:{bound.rpartition(':')[2]}")
        if not await unless(stop, announce(session, worker)):
            return
        await stack.enter_async_context(background(puller.run()))
        stack.push_async_callback(agent.close)
        watching = _watching(metrics, agent, session, start.capacity, of_etcd(etcd), of_redis(redis))
        await stack.enter_async_context(background(agent.run(), logs.run(agent.runners_in_use), *watching))
        parent.report(state="ready", address=worker.address, metrics=page)
        await stop.wait()
        server.set_serving(False)
        puller.drain()
        await drain(worker, etcd, session, agent, config.drain_s)
        # The name stays taken until the session is closed: by then all that this process has announced is withdrawn.
        await session.put(keys.worker(config.id), codec.encode(replace(worker, draining=True)))


def _agent(
    start: Start, etcd: Etcd, session: Session, source: RegistrySource, logs: RunnerLogs, metrics: ReplicaMetrics
) -> Agent:
    config = start.config
    cache = ArtifactCache(Path(config.data_dir) / "artifacts", source, start.cache_bytes)
    cache.clean()
    cores = max(1, int(start.capacity.cpu))
    settings = RunnerSettings(
        host=config.host,
        advertise=config.advertise or config.host,
        cores=cores,
        logs=logs,
        environ={**start.environ, **metrics.environ},
        gpus=tuple(device.name for device in start.capacity.devices),
    )
    return Agent(Host(config.id, start.capacity), etcd, session, cache, Runners(settings), metrics.journal)


def _announce_registries(puller: Puller, gangs: Gangs) -> None:
    puller.announce()
    gangs.announce()


def _puller(start: Start, redis: Redis, registries: Callable[[], list[str]], metrics: ReplicaMetrics) -> Puller:
    readers = ReaderSettings(start.environ, registries)
    return Puller(start.config.id, RedisQueue(redis), readers, metrics.journal)


def _training(start: Start, logs: RunnerLogs, registries: Callable[[], list[str]]) -> TrainingSettings:
    config = start.config
    return TrainingSettings(
        worker=config.id,
        advertise=config.advertise or config.host,
        etcd=config.etcd,
        logs=logs,
        directory=cleared(Path(config.data_dir) / "training"),
        registries=registries,
        allows_code=config.allow_code,
        environ=start.environ,
        gpus=tuple(device.name for device in start.capacity.devices),
        lease_s=config.lease_s,
    )


def _watching(
    metrics: ReplicaMetrics,
    agent: Agent,
    session: Session,
    capacity: Capacity,
    etcd_there: Dependency,
    redis_there: Dependency,
) -> list[Coroutine[Any, Any, None]]:
    """What keeps metrics current. Health depends on neither: instances go on, and can be called, without them."""
    vitals = Vitals(metrics.journal, {"worker": session})
    vitals.dependencies |= {families.ETCD: etcd_there, families.REDIS: redis_there}
    placed = WorkerMetrics(metrics.journal, agent.placements.items.values, capacity.memory_bytes)
    samplers = Samplers(metrics.journal, placed.placed, placed, vitals, metrics.gathering)
    return [etcd_there.run(), redis_there.run(), samplers.run()]


def _record(start: Start, address: str) -> Worker:
    return Worker(
        id=start.config.id,
        address=address,
        cpu=start.capacity.cpu,
        memory_bytes=start.capacity.memory_bytes,
        incarnation=uuid.uuid4().hex,
        devices=start.capacity.devices,
        labels={**start.labels, **({CODE_LABEL[0]: CODE_LABEL[1]} if start.config.allow_code else {})},
    )


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    allow_descriptors()
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        capacity, labels = find_capacity(config.capacity), parse_pairs(config.labels)
        start = Start(config, capacity, labels, parse_bytes(config.cache_bytes), without_settings(environ))
    except ValueError as error:
        sys.exit(f"error: {error}")
    try:
        uvloop.run(serving(serve(start, parent)))
    except (OSError, BackgroundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
