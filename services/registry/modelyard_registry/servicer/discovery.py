"""The methods that find and watch."""

from __future__ import annotations

from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.servicer.pages import page_size


class DiscoveryMethods:
    """Search and Watch: served from what follows etcd, not from etcd itself."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery

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
