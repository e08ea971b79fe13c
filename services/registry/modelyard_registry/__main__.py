"""`python -m modelyard_registry`: one registry replica."""

from __future__ import annotations

import os
import sys
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from typing import Any

import uvloop

from modelyard import codec, keys, log
from modelyard.config import load
from modelyard.dependency import Dependency, of_etcd
from modelyard.deployment import Member
from modelyard.errors import ModelyardError
from modelyard.etcd import Etcd
from modelyard.memory import share_heap
from modelyard.metrics import families
from modelyard.metrics.replica import ReplicaMetrics
from modelyard.metrics.sampling import Samplers
from modelyard.metrics.vitals import Vitals
from modelyard.process import Parent, allow_descriptors
from modelyard.rpc.revision import RevisionInterceptor
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import BackgroundError, background, serving, unless
from modelyard.v1 import registry_pb2
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.publisher import Publisher
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.artifacts.uploads import Uploads
from modelyard_registry.catalogue import Catalogue
from modelyard_registry.config import Config
from modelyard_registry.formats.inspector import Inspector
from modelyard_registry.metrics import RegistryMetrics
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.search.feed import Feed
from modelyard_registry.servicer import RegistryServicer
from modelyard_registry.servicer.freshness import WATCH, Freshness

STORE_EVERY_S = 5.0
"""Seconds between two looks at the store: of a bucket each is a request that may have to be paid for."""


async def serve(config: Config, environ: Mapping[str, str], parent: Parent) -> None:
    """Start in the order metrics → store → etcd → gRPC → announce; stop in the reverse.

    Raises:
        OSError: the store or the port cannot be used.
    """
    stop = on_termination()
    async with AsyncExitStack() as stack:
        metrics = await stack.enter_async_context(ReplicaMetrics("registry", config.metrics_dir))
        page = await metrics.serve(config.host, config.metrics_port)
        store = ChunkStore(config.store, config.id)
        await store.prepare()
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        if not await unless(stop, etcd.wait_ready()):
            return
        service = registry_pb2.DESCRIPTOR.services_by_name["Registry"]
        catalogue, discovery = Catalogue(etcd, config.grace_s), Discovery(etcd)
        answers = RevisionInterceptor(Freshness(etcd, discovery).reach)
        server = Server(config.id, lasting=[WATCH], interceptors=[answers], bounded=True)
        holds = Holds(etcd)
        inspector = Inspector(environ, allow_unsafe=config.allow_unsafe)
        publisher = Publisher(catalogue.publications, store, inspector, holds)
        collector = Collector(etcd, store, config.id)
        uploads = Uploads(holds, store)
        servicer = RegistryServicer(catalogue, discovery, Feed(etcd), publisher, store, uploads, collector)
        server.add(service, servicer)
        bound = await server.start(f"{config.host}:{config.port}")
        stack.push_async_callback(server.stop)
        address = f"{config.advertise or config.host}:{bound.rpartition(':')[2]}"
        session = Session(etcd, config.lease_s)
        await session.start()
        stack.push_async_callback(session.close)
        await session.put(keys.member("registry", config.id), codec.encode(Member(config.id, address)))
        vitals = Vitals(metrics.journal, {"member": session})
        catalogued = RegistryMetrics(metrics.journal, servicer, discovery, collector)
        works = session.run(), discovery.run(), collector.run(config.collect_every_s)
        watching = _watching(metrics, catalogued, vitals, server, etcd, store)
        await stack.enter_async_context(background(*works, *watching))
        parent.report(state="ready", address=address, metrics=page)
        await stop.wait()


def _watching(
    metrics: ReplicaMetrics, catalogued: RegistryMetrics, vitals: Vitals, server: Server, etcd: Etcd, store: ChunkStore
) -> list[Coroutine[Any, Any, None]]:
    """What keeps metrics and health current: it serves while both etcd and the store answer."""

    def update() -> None:
        server.set_serving(etcd_there.answers and store_there.answers)

    etcd_there = of_etcd(etcd, update)
    store_there = Dependency("store", store.check, update, STORE_EVERY_S)
    vitals.dependencies |= {families.ETCD: etcd_there, families.STORE: store_there}
    samplers = Samplers(metrics.journal, tuple, catalogued, vitals, metrics.gathering)
    return [etcd_there.run(), store_there.run(), samplers.run()]


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    share_heap()
    allow_descriptors()
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        uvloop.run(serving(serve(config, environ, parent)))
    except (OSError, ModelyardError, BackgroundError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
