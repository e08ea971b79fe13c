"""Watches of a registry, and what happens to its catalogue, written straight to etcd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from modelyard import codec, keys
from modelyard.catalogue import Alias, Lifecycle, Model, Resources, Signature, Version
from modelyard.etcd import Put
from modelyard.events import CatalogueEvent
from modelyard.rpc import convert
from modelyard.v1 import registry_pb2 as pb
from tests.integration.registry.remote import Remote


def version(model: str, name: str, state: Lifecycle = Lifecycle.ACTIVE, description: str = "") -> Version:
    return Version(model, name, "onnx", Signature(), Resources(), "0" * 64, 1, description=description, state=state)


def put(value: Model | Version, alias: Alias | None = None) -> Put:
    if isinstance(value, Version):
        return Put(keys.version(value.model, value.version), codec.encode(value))
    if alias:
        return Put(keys.alias(value.name, alias.name), codec.encode(alias))
    return Put(keys.model(value.name), codec.encode(value))


def told(event: CatalogueEvent) -> tuple[str, str]:
    """The kind of an event and what it is of."""
    match event.resource:
        case Version():
            return event.kind, f"{event.resource.model}@{event.resource.version}"
        case Alias():
            return event.kind, f"{event.model}:{event.resource.name}"
        case _:
            return event.kind, event.model


class Watch:
    """A watch of a registry, read event by event."""

    def __init__(self, registry: Remote, start: int = 0, prefix: str = "") -> None:
        self.call = registry.stub.Watch(pb.WatchRequest(start_revision=start, name_prefix=prefix))

    async def next(self) -> CatalogueEvent:
        return convert.event_from_pb(await asyncio.wait_for(self.call.read(), 60))

    async def take(self, count: int) -> list[tuple[str, str]]:
        return [told(await self.next()) for _ in range(count)]

    async def until(self, kind: str, name: str) -> CatalogueEvent:
        """Read on to an event, passing over what else there is (a version that an alias names is written anew)."""
        while told(event := await self.next()) != (kind, name):
            assert event.kind == "PUT"
        return event


@contextlib.asynccontextmanager
async def watching(registry: Remote, start: int = 0, prefix: str = "") -> AsyncIterator[Watch]:
    watch = Watch(registry, start, prefix)
    yield watch
    watch.call.cancel()
