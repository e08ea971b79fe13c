"""`python -m modelyard_scheduler.frontdoor`: one front-door process, a child of a scheduler.

Reports to it over its pipe: {"state": "beat"} twice a second, and once {"state": "ready", "address"}.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import uvloop

from modelyard import garbage, log
from modelyard.dependency import of_etcd
from modelyard.etcd import Etcd
from modelyard.metrics import Journal, families, inherited
from modelyard.metrics.sampling import Samplers
from modelyard.metrics.vitals import Vitals
from modelyard.oip import messages
from modelyard.oip.sharedmemory import SharedMemory
from modelyard.process import Parent
from modelyard.rpc.channel import method_path
from modelyard.rpc.replicas import Replicas
from modelyard.rpc.server import Server, on_termination
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import jobs_pb2, registry_pb2, router_pb2, scheduler_pb2
from modelyard_scheduler.frontdoor.aliases import Aliases
from modelyard_scheduler.frontdoor.control import Control
from modelyard_scheduler.frontdoor.demand import Demand
from modelyard_scheduler.frontdoor.dispatch import Dispatcher
from modelyard_scheduler.frontdoor.health import FrontDoorHealth
from modelyard_scheduler.frontdoor.metrics import CallMetrics, RouteMetrics
from modelyard_scheduler.frontdoor.refusals import SharedRefusals
from modelyard_scheduler.frontdoor.regions import SharedRegions
from modelyard_scheduler.frontdoor.relay import Relay
from modelyard_scheduler.frontdoor.repository import Repository
from modelyard_scheduler.frontdoor.resolution import Resolution
from modelyard_scheduler.frontdoor.router import Router
from modelyard_scheduler.frontdoor.routes import RouteServicer
from modelyard_scheduler.frontdoor.servicer import RAW_METHODS, Extensions, InferenceServicer
from modelyard_scheduler.frontdoor.settings import SharedSettings
from modelyard_scheduler.frontdoor.statistics import Statistics
from modelyard_scheduler.frontdoor.table import RoutingTable
from modelyard_scheduler.peers import addresses_of, find_version


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


async def serve(options: Options, parent: Parent, journal: Journal) -> None:
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
        registries = Replicas("registry", lambda: addresses_of(table.registries.items))
        schedulers = Replicas("scheduler", lambda: addresses_of(table.schedulers.items))
        stack.push_async_callback(registries.close)
        stack.push_async_callback(schedulers.close)
        if not await unless(stop, table.wait_built()):
            return
        registry = registry_pb2.DESCRIPTOR.services_by_name["Registry"]
        jobs = jobs_pb2.DESCRIPTOR.services_by_name["Jobs"]
        lasting = [method_path(registry.methods_by_name["Watch"]), method_path(jobs.methods_by_name["WatchJob"])]
        server = Server(options.name, reuse_port=True, lasting=lasting)
        aliases, demand, refusals = Aliases(etcd), Demand(etcd), SharedRefusals(etcd)
        for writer in (aliases, demand, refusals):
            stack.push_async_callback(writer.close)
        calls = CallMetrics(journal)
        dispatcher = Dispatcher(table, demand, refusals)
        resolution = Resolution(table, aliases, partial(find_version, registries))
        router = Router(resolution, dispatcher, calls.observe)
        server.add(router_pb2.DESCRIPTOR.services_by_name["Router"], RouteServicer(router))
        regions, settings = SharedRegions(etcd), SharedSettings(etcd)
        followers = (regions.run(), settings.run(), refusals.run(), demand.run(table.busy_on_demand))
        await stack.enter_async_context(background(*followers))
        repository = Repository(table, Control(registries, schedulers), demand)
        extensions = Extensions(repository, Statistics(table), SharedMemory(regions), settings)
        server.add(messages.SERVICE, InferenceServicer(router, table, extensions, stop), RAW_METHODS)
        scheduler = scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"]
        server.add_generic(registry, Relay(registry.full_name, registries))
        for served in (scheduler, jobs):
            server.add_generic(served, Relay(served.full_name, schedulers))
        address = await server.start(options.address)
        stack.push_async_callback(server.stop)
        await stack.enter_async_context(background(*_watching(journal, calls, table, etcd, server)))
        garbage.spare()
        parent.report(state="ready", address=address)
        await stop.wait()


def _watching(
    journal: Journal, calls: CallMetrics, table: RoutingTable, etcd: Etcd, server: Server
) -> list[Coroutine[Any, Any, None]]:
    """What keeps metrics and health current."""
    etcd_there = of_etcd(etcd)
    vitals = Vitals(journal, {})
    vitals.dependencies[families.ETCD] = etcd_there
    routes = RouteMetrics(journal, table)
    samplers = Samplers(journal, routes.deployed, routes, vitals, calls)
    relayed = {
        registry_pb2.DESCRIPTOR.services_by_name["Registry"].full_name: lambda: bool(table.registries.items),
        scheduler_pb2.DESCRIPTOR.services_by_name["Scheduler"].full_name: lambda: bool(table.schedulers.items),
        jobs_pb2.DESCRIPTOR.services_by_name["Jobs"].full_name: lambda: bool(table.schedulers.items),
    }
    health = FrontDoorHealth(table, server.health, relayed)
    return [etcd_there.run(), samplers.run(), health.run()]


def main() -> None:
    """Serve until SIGTERM."""
    environ = dict(os.environ)
    parent, journal = Parent(environ), Journal(inherited(environ))
    parent.start_beating()
    options = parse(sys.argv[1:])
    log.configure(options.name, options.log_level)
    try:
        uvloop.run(serving(serve(options, parent, journal)))
    except BackgroundError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
