"""The methods that find and watch."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context
from modelyard.tasks import completed
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.search.feed import Feed
from modelyard_registry.servicer.pages import page_size


class DiscoveryMethods:
    """Search, from an index that follows etcd, and Watch, which follows it by itself."""

    def __init__(self, discovery: Discovery, feed: Feed) -> None:
        self._discovery = discovery
        self._feed = feed

    async def Search(self, request: pb.SearchRequest, context: Context) -> pb.SearchResponse:
        """Return a page of the versions that a filter finds."""
        size = page_size(request.page_size)
        page = self._discovery.search(request.filter, request.order_by, size, request.page_token)
        results = [
            pb.SearchResult(model=convert.model_to_pb(model), version=convert.version_to_pb(version))
            for model, version in page.results
        ]
        return pb.SearchResponse(
            results=results, next_page_token=page.next_page_token, revision=self._discovery.revision
        )

    async def Watch(self, request: pb.WatchRequest, context: Context) -> AsyncIterator[pb.WatchResponse]:
        """Stream the catalogue's changes, until the client goes away."""
        events = await self._feed.open(request.start_revision, request.name_prefix)
        await completed(context.send_initial_metadata(()))  # says that the watch stands, however long nothing happens
        async with contextlib.aclosing(events):
            async for event in events:
                yield convert.event_to_pb(event)
