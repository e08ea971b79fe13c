"""`python -m modelyard_scheduler`: one scheduler replica: a controller and its front doors."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from functools import partial

import uvloop

from modelyard import codec, keys, log
from modelyard.config import load
from modelyard.deployment import Member
from modelyard.errors import PASSING
from modelyard.etcd import Etcd
from modelyard.process import Parent
from modelyard.redis import Redis
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import scheduler_pb2
from modelyard_scheduler.config import Config
from modelyard_scheduler.frontdoors import FrontDoors, reserve
from modelyard_scheduler.leader import Leader
from modelyard_scheduler.peers import Replicas, find_version
from modelyard_scheduler.service import Deployments
from modelyard_scheduler.servicer import SchedulerServicer
from modelyard_scheduler.state import State


async def serve(config: Config, parent: Parent) -> None:
    """Start in the order etcd → Redis → gRPC → announce → front doors → lead; stop in the reverse."""
    stop = on_termination()
    async with AsyncExitStack() as stack:
        held = stack.enter_context(reserve(config.host, config.port))
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        redis = Redis(config.redis)
        stack.push_async_callback(redis.close)
        if not await unless(stop, etcd.wait_ready()) or not await unless(stop, redis.wait_ready()):
            return
        changed = asyncio.Event()
        state = State(etcd, changed.set)
        await stack.enter_async_context(background(*state.works()))
        if not await unless(stop, state.synced()):
            return
        registries = Replicas("registry", lambda: state.registries.items)
        stack.push_async_callback(registries.close)
        server = Server(config.id)
        deployments = Deployments(etcd, state, partial(find_version, registries))
        service = scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"]
        server.add(service, SchedulerServicer(deployments, state))
        bound = await server.start(f"{config.host}:{config.control_port}")
        stack.push_async_callback(server.stop)
        member = Member(config.id, f"{config.advertise or config.host}:{bound.rpartition(':')[2]}")
        session = Session(etcd)
        await session.start()
        stack.push_async_callback(session.close)
        await session.put(keys.member("scheduler", config.id), codec.encode(member))
        leader = Leader(etcd, state, member, changed)
        await stack.enter_async_context(background(session.run(), leader.run()))
        port = held.getsockname()[1]
        front_doors = FrontDoors(config, port)
        stack.push_async_callback(front_doors.stop)
        await stack.enter_async_context(background(front_doors.run()))
        if await unless(stop, front_doors.ready()):
            parent.report(state="ready", address=f"{config.advertise or config.host}:{port}")
            await stop.wait()


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
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
