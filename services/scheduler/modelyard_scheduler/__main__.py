"""`python -m modelyard_scheduler`: one scheduler replica: a controller and its front doors."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import uvloop

from modelyard import codec, keys, log
from modelyard.config import load, without_settings
from modelyard.datasets.allowed import prefixes
from modelyard.dependency import of_etcd, of_redis
from modelyard.deployment import Member
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.memory import share_heap
from modelyard.metrics import families
from modelyard.metrics.replica import ReplicaMetrics
from modelyard.metrics.sampling import Samplers
from modelyard.metrics.vitals import Vitals
from modelyard.process import Parent, allow_descriptors
from modelyard.queue import Caps, RedisQueue
from modelyard.redis import Redis
from modelyard.rpc.channel import method_path
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import jobs_pb2, scheduler_pb2
from modelyard_scheduler.config import Config
from modelyard_scheduler.frontdoors import FrontDoors, reserve
from modelyard_scheduler.jobs.api.assembly import jobs_api
from modelyard_scheduler.jobs.leader.assembly import Basis, supervising
from modelyard_scheduler.jobs.leader.metrics import JobMetrics
from modelyard_scheduler.jobs.records import Records
from modelyard_scheduler.leader import Leader
from modelyard_scheduler.metrics import DeploymentMetrics
from modelyard_scheduler.peers import addresses_of, find_version
from modelyard_scheduler.service import Deployments
from modelyard_scheduler.servicer import SchedulerServicer
from modelyard_scheduler.state import State

JOBS = jobs_pb2.DESCRIPTOR.services_by_name["Jobs"]


async def serve(config: Config, parent: Parent) -> None:
    """Start in the order metrics → etcd → Redis → gRPC → announce → lead → front doors; stop in the reverse."""
    stop = on_termination()
    async with AsyncExitStack() as stack:
        metrics = await stack.enter_async_context(ReplicaMetrics("scheduler", config.metrics_dir))
        page = await metrics.serve(config.host, config.metrics_port)
        held = stack.enter_context(reserve(config.host, config.port))
        etcd, redis = Etcd(config.etcd), Redis(config.redis)
        stack.push_async_callback(etcd.close)
        stack.push_async_callback(redis.close)
        if not await unless(stop, etcd.wait_ready()) or not await unless(stop, redis.wait_ready()):
            return
        changed = asyncio.Event()
        state = State(etcd, changed.set)
        await stack.enter_async_context(background(*state.works()))
        if not await unless(stop, state.synced()):
            return
        registries = Replicas("registry", lambda: addresses_of(state.registries.items))
        stack.push_async_callback(registries.close)
        server = Server(config.id, lasting=[method_path(JOBS.methods_by_name["WatchJob"])])
        deployments = Deployments(etcd, state, partial(find_version, registries))
        service = scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"]
        server.add(service, SchedulerServicer(deployments, state))
        queue = RedisQueue(redis)
        records = Records(queue, Caps())
        allowed = prefixes(config.dataset_urls)
        server.add(JOBS, await stack.enter_async_context(jobs_api(queue, records, registries, allowed)))
        bound = await server.start(f"{config.host}:{config.control_port}")
        stack.push_async_callback(server.stop)
        member = Member(config.id, f"{config.advertise or config.host}:{bound.rpartition(':')[2]}")
        session = Session(etcd, config.lease_s)
        await session.start()
        stack.push_async_callback(session.close)
        await session.put(keys.member("scheduler", config.id), codec.encode(member))
        basis = Basis(queue, records, etcd, registries)
        leading = supervising(config.id, basis, state, allowed, without_settings(os.environ))
        supervision, figures = await stack.enter_async_context(leading)
        leader = Leader(etcd, state, member, changed, supervision.run, lease_s=config.lease_s)
        await stack.enter_async_context(background(session.run(), leader.run()))
        deployed = DeploymentMetrics(metrics.journal, state, leader.election)
        vitals = Vitals(metrics.journal, {"member": session, "leader": leader.election})
        looked_at = deployed, JobMetrics(metrics.journal, figures), vitals, metrics.gathering
        samplers = Samplers(metrics.journal, deployed.deployed, *looked_at)
        await stack.enter_async_context(background(samplers.run(), *_watching(vitals, server, etcd, redis)))
        front_doors = FrontDoors(config, port := held.getsockname()[1], metrics.environ)
        stack.push_async_callback(front_doors.stop)
        await stack.enter_async_context(background(front_doors.run()))
        if await unless(stop, front_doors.ready()):
            parent.report(state="ready", address=f"{config.advertise or config.host}:{port}", metrics=page)
            await stop.wait()


def _watching(vitals: Vitals, server: Server, etcd: Etcd, redis: Redis) -> list[Coroutine[Any, Any, None]]:
    """What keeps health current. Without etcd nothing can be deployed; without Redis all that can go on."""
    etcd_there = of_etcd(etcd, lambda: server.set_serving(etcd_there.answers))
    redis_there = of_redis(redis)
    vitals.dependencies |= {families.ETCD: etcd_there, families.REDIS: redis_there}
    return [etcd_there.run(), redis_there.run()]


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    share_heap()
    allow_descriptors()
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        uvloop.run(serving(serve(config, parent)))
    except OSError as error:
        sys.exit(f"error: cannot serve on {config.host}:{config.port}: {error.strerror or error}")
    except (*PASSING, BackgroundError) as error:  # of the former, etcd went away again before we were announced
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
