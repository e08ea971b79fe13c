"""How new an answer is, for requests that ask for that: by the way in which it is made."""

from __future__ import annotations

from modelyard.etcd import Etcd
from modelyard.rpc.channel import method_path
from modelyard.v1 import registry_pb2
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.search.freshness import check_reached

METHODS = registry_pb2.DESCRIPTOR.services_by_name["Registry"].methods_by_name
SEARCH = method_path(METHODS["Search"])
WATCH = method_path(METHODS["Watch"])


class Freshness:
    """Search waits for the index; all other methods read etcd itself, so that etcd is asked."""

    def __init__(self, etcd: Etcd, discovery: Discovery) -> None:
        self._etcd = etcd
        self._discovery = discovery

    async def reach(self, method: str, revision: int) -> None:
        """Return once the method, named by its path, answers at a revision or a later one.

        Raises:
            PreconditionError: etcd has not come so far.
            UnavailableError: etcd does not answer, or the index has not come so far in time.
        """
        if method == SEARCH:
            await self._discovery.reach(revision)
        else:
            await check_reached(self._etcd, revision)
