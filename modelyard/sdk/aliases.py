"""Aliases: the registry's calls on them and on their history."""

from __future__ import annotations

from modelyard.catalogue import Alias, AliasChange
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.connection import Calls, resolve
from modelyard.sdk.pages import pages
from modelyard.sdk.references import model_of
from modelyard.v1 import registry_pb2 as pb


class AliasCalls(Calls):
    """Movable names of versions."""

    async def set_alias(
        self,
        name: str,
        alias: str,
        version: str = "",
        *,
        canary_version: str = "",
        canary_percent: float = 0.0,
        force: bool = False,
        etag: str = "",
    ) -> Alias:
        """Point an alias at a version (the newest where none is given), and a share of its calls at another one.

        Args:
            name: the model, or `model@version`.
            alias: the movable name.
            version: which one.
            canary_version: which gets a share of the calls that name the alias; none does where it is empty.
            canary_percent: of a hundred calls, above 0 and below 100.
            force: even if a version breaks those who call the alias.
            etag: the alias's when it was read: it is not moved if it has been since. "0": there must be none yet.

        Raises:
            InvalidInputError: the canary has no share, or all calls, or is the version itself.
            NotFoundError: there is no such model or version.
            AlreadyExistsError: a version has that name.
            PreconditionError: a version breaks callers of the alias, and `force` is not set (the message says how it
                does); or the version or the model is DELETED.
            AbortedError: the etag is no longer the alias's.
        """
        reference = resolve(name, version)
        request = build(
            pb.SetAliasRequest,
            model=reference.model,
            alias=alias,
            version=reference.version,
            force=force,
            etag=etag,
            canary_version=canary_version,
            canary_percent=canary_percent,
        )
        # With an etag, a second attempt after a lost answer would find the etag changed by the first.
        method = self._connection.registry.SetAlias
        return convert.alias_from_pb(await self._connection.call(method, request, retry=not etag))

    async def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias; its version stays, and `rollback` brings it back.

        Raises:
            InvalidInputError: the name is of a version.
            NotFoundError: there is no such alias.
        """
        request = build(pb.DeleteAliasRequest, model=model_of(name), alias=alias)
        await self._connection.call(self._connection.registry.DeleteAlias, request, retry=False)

    async def history(self, name: str, alias: str = "") -> list[AliasChange]:
        """Return the moves of an alias, or of all aliases of a model, the newest first.

        Args:
            name: the model, or `model@alias`.
            alias: which one; all where empty.

        Raises:
            NotFoundError: there is no such model, or there never was that alias.
        """
        reference = resolve(name, alias)
        request = pb.ListAliasHistoryRequest(model=reference.model, alias=reference.version)
        found = pages(self._connection, self._connection.registry.ListAliasHistory, request)
        return [convert.alias_change_from_pb(change) async for page in found for change in page.changes]

    async def rollback(self, name: str, alias: str = "", *, etag: str = "") -> Alias:
        """Point an alias at what it pointed at before its last move; again, at what came before that.

        To give a canary a share of the calls is a move, too; a roll-back leads to one version alone.
        Compatibility is not asked about: callers have lived with that version before.

        Args:
            name: the model, or `model@alias`.
            alias: which one.
            etag: the alias's when it was read: it is not moved if it has been since.

        Raises:
            InvalidInputError: no alias is named.
            NotFoundError: there is no such model, or there never was that alias.
            PreconditionError: there is nothing to return to, or that is DELETED.
            AbortedError: the etag is no longer the alias's.
        """
        reference = resolve(name, alias)
        request = build(pb.RollbackAliasRequest, model=reference.model, alias=reference.version, etag=etag)
        # A second attempt after a lost answer would go back one move more.
        method = self._connection.registry.RollbackAlias
        return convert.alias_from_pb(await self._connection.call(method, request, retry=False))
