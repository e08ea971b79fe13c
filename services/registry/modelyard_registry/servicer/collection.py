"""The method that collects garbage."""

from __future__ import annotations

from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.artifacts.collector import Collector


class CollectionMethods:
    """Garbage collection."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    async def CollectGarbage(self, request: pb.CollectGarbageRequest, context: Context) -> pb.CollectGarbageResponse:
        """Purge and collect; the collection ends with the call."""
        return convert.collected_to_pb(await self._collector.collect(dry_run=request.dry_run, uploads=request.uploads))
