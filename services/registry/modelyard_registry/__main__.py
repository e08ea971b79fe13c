"""`python -m modelyard_registry`: one registry replica."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack

import uvloop

from modelyard import codec, keys, log
from modelyard.config import load
from modelyard.deployment import Member
from modelyard.errors import ModelyardError
from modelyard.etcd import Etcd
from modelyard.process import Parent
from modelyard.rpc.server import Server, on_termination
from modelyard.session import Session
from modelyard.tasks import background, unless
from modelyard.v1 import registry_pb2
from modelyard_registry.artifacts.publisher import Publisher
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.config import Config
from modelyard_registry.formats.inspector import Inspector
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.service import Catalogue
from modelyard_registry.servicer import RegistryServicer


async def serve(config: Config, environ: Mapping[str, str], parent: Parent) -> None:
    """Start in the order store → etcd → gRPC → announce; stop in the reverse.

    Raises:
        OSError: the store or the port cannot be used.
    """
    stop = on_termination()
    async with AsyncExitStack() as stack:
        store = ChunkStore(config.store, config.id)
        await store.prepare()
        etcd = Etcd(config.etcd)
        stack.push_async_callback(etcd.close)
        if not await unless(stop, etcd.wait_ready()):
            return
        server = Server(config.id)
        service = registry_pb2.DESCRIPTOR.services_by_name["Registry"]
        catalogue, discovery = Catalogue(etcd), Discovery(etcd)
        publisher = Publisher(catalogue, store, Inspector(environ, allow_unsafe=config.allow_unsafe))
        server.add(service, RegistryServicer(catalogue, discovery, publisher, store))
        bound = await server.start(f"{config.host}:{config.port}")
        stack.push_async_callback(server.stop)
        address = f"{config.advertise or config.host}:{bound.rpartition(':')[2]}"
        session = Session(etcd)
        await session.start()
        stack.push_async_callback(session.close)
        await session.put(keys.member("registry", config.id), codec.encode(Member(config.id, address)))
        await stack.enter_async_context(background(session.run(), discovery.run()))
        parent.report(state="ready", address=address)
        await stop.wait()


def main() -> None:
    """Read the configuration and serve until SIGTERM."""
    environ = dict(os.environ)
    parent = Parent(environ)
    config = load(Config, sys.argv[1:], environ)
    log.configure(config.id, config.log_level)
    try:
        uvloop.run(serve(config, environ, parent))
    except (OSError, ModelyardError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
