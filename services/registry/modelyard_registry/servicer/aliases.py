"""The methods on aliases."""

from __future__ import annotations

from modelyard.catalogue import Alias
from modelyard.errors import InvalidInputError
from modelyard.rpc import convert
from modelyard.rpc.interceptor import Context, tenant_of
from modelyard.v1 import registry_pb2 as pb
from modelyard_registry.catalogue.aliases import Aliases
from modelyard_registry.servicer.pages import page_size

MAX_TOKEN = 20


class AliasMethods:
    """Aliases."""

    def __init__(self, aliases: Aliases) -> None:
        self._aliases = aliases

    async def SetAlias(self, request: pb.SetAliasRequest, context: Context) -> pb.Alias:
        """Point an alias at a version."""
        alias = Alias(
            request.alias,
            request.version,
            tenant_of(context),
            canary_version=request.canary_version,
            canary_percent=request.canary_percent,
        )
        moved = await self._aliases.set(request.model, alias, request.etag, force=request.force)
        return convert.alias_to_pb(moved)

    async def DeleteAlias(self, request: pb.DeleteAliasRequest, context: Context) -> pb.DeleteAliasResponse:
        """Delete an alias."""
        await self._aliases.delete(request.model, request.alias, tenant_of(context))
        return pb.DeleteAliasResponse()

    async def ListAliasHistory(
        self, request: pb.ListAliasHistoryRequest, context: Context
    ) -> pb.ListAliasHistoryResponse:
        """Return a page of an alias's changes, or of all aliases of a model, the newest first."""
        limit = page_size(request.page_size)
        after = _revision(request.page_token)
        found = await self._aliases.history(request.model, request.alias, after, limit + 1)
        token = str(found[limit - 1][0]) if len(found) > limit else ""
        changes = [convert.alias_change_to_pb(change) for _, change in found[:limit]]
        return pb.ListAliasHistoryResponse(changes=changes, next_page_token=token)

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Context) -> pb.Alias:
        """Point an alias at what it pointed at before its last move."""
        alias = await self._aliases.roll_back(request.model, request.alias, tenant_of(context), request.etag)
        return convert.alias_to_pb(alias)


def _revision(page_token: str) -> int:
    if page_token and not (page_token.isascii() and page_token.isdecimal() and len(page_token) < MAX_TOKEN):
        raise InvalidInputError(f"page_token: expected one of ListAliasHistory, got {page_token!r}")
    return int(page_token or 0)
