"""Finding versions by conditions."""

from __future__ import annotations

from modelyard.catalogue import Model, Version
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.connection import Calls
from modelyard.sdk.pages import pages
from modelyard.v1 import registry_pb2 as pb


class DiscoveryCalls(Calls):
    """The whole catalogue, looked through."""

    async def search(
        self, condition: str = "", *, order_by: str = "", at_least: int = 0
    ) -> list[tuple[Model, Version]]:
        """Return the versions that a filter finds, each with its model.

        What this client has pushed or read is among them; what others have changed a moment ago may be missing.

        Args:
            condition: a filter in the language of docs/filters.md; every version where empty.
            order_by: fields separated by commas, each perhaps with " desc"; else by model and age, newest first.
            at_least: the `revision` of another client, to find what that one has pushed or read too.

        Raises:
            InvalidInputError: the filter or the order is not understood; the message names the column.
            PreconditionError: the registry's etcd is not at that revision: it was restored from a backup. The client
                forgets what it has seen, so that it can search again.
        """
        request = build(pb.SearchRequest, filter=condition, order_by=order_by)
        newest = max(at_least, self._connection.revision)
        listing = pages(self._connection, self._connection.registry.Search, request, newest)
        found = [result async for page in listing for result in page.results]
        return [(convert.model_from_pb(r.model), convert.version_from_pb(r.version)) for r in found]
