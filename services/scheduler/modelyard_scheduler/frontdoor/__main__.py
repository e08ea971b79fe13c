"""`python -m modelyard_scheduler.frontdoor`: one front-door process, a child of a scheduler."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import uvloop

from modelyard import log
from modelyard.etcd import Etcd
from modelyard.oip import messages
from modelyard.process import Parent
from modelyard.rpc.channel import method_path
from modelyard.rpc.server import Server, on_termination
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import registry_pb2, scheduler_pb2
from modelyard_scheduler.frontdoor.relay import Relay
from modelyard_scheduler.frontdoor.router import Router
from modelyard_scheduler.frontdoor.servicer import RAW_METHODS, InferenceServicer
from modelyard_scheduler.frontdoor.table import RoutingTable
from modelyard_scheduler.peers import Replicas, find_version


@dataclass(frozen=True)
class Options:
    """What the scheduler asks for."""

    name: str
    address: str
    etcd: str
    log_level: str


def parse(argv: list[str]) -> Options:
    """Read the flags that the scheduler passes."""
    parser = argparse.ArgumentParser(prog="python -m modelyard_scheduler.frontdoor")
    parser.add_argument("--name", required=True)
    parser.add_argument("--address", required=True)
    parser.add_argument("--etcd", required=True)
    parser.add_argument("--log-level", default="INFO")
    return Options(**vars(parser.parse_args(argv)))


async def serve(options: Options, parent: Parent) -> None:
    """Start in the order etcd → table → gRPC; stop in the reverse."""
    stop = on_termination()
    async with AsyncExitStack() as stack:
        etcd = Etcd(options.etcd)
        stack.push_async_callback(etcd.close)
        if not await unless(stop, etcd.wait_ready()):
            return
        table = RoutingTable(etcd)
        mirrors = (table.deployments, table.instances, table.registries, table.schedulers)
        await stack.enter_async_context(background(table.run(), *(mirror.run() for mirror in mirrors)))
        registries = Replicas("registry", lambda: table.registries.items)
        schedulers = Replicas("scheduler", lambda: table.schedulers.items)
        stack.push_async_callback(registries.close)
        stack.push_async_callback(schedulers.close)
        if not await unless(stop, table.wait_built()):
            return
        registry = registry_pb2.DESCRIPTOR.services_by_name["Registry"]
        lasting = [method_path(registry.methods_by_name["Watch"])]
        server = Server(options.name, reuse_port=True, lasting=lasting)
        router = Router(table, partial(find_version, registries))
        server.add(messages.SERVICE, InferenceServicer(router, table), RAW_METHODS)
        scheduler = scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"]
        server.add_generic(registry, Relay(registry.full_name, registries))
        server.add_generic(scheduler, Relay(scheduler.full_name, schedulers))
        address = await server.start(options.address)
        stack.push_async_callback(server.stop)
        parent.report(state="ready", address=address)
        await stop.wait()


def main() -> None:
    """Serve until SIGTERM."""
    parent = Parent(dict(os.environ))
    options = parse(sys.argv[1:])
    log.configure(options.name, options.log_level)
    try:
        uvloop.run(serving(serve(options, parent)))
    except BackgroundError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
