"""The methods on aliases."""

from __future__ import annotations

from modelyard.catalogue import Alias
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.service import Catalogue


class AliasMethods:
    """Aliases."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Alias:
        """Point an alias at a version."""
        alias = Alias(request.alias, request.version, tenant_of(context))
        return convert.alias_to_pb(await self._catalogue.set_alias(request.model, alias))

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        """Delete an alias."""
        await self._catalogue.delete_alias(request.model, request.alias)
        return pb.DeleteAliasResponse()
