"""Models, versions and aliases: the registry's calls that carry no chunks."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

from modelyard.catalogue import Alias, Model, Version
from modelyard.rpc import convert
from modelyard.sdk.connection import Calls, resolve
from modelyard.v1 import registry_pb2 as pb

PAGE_SIZE = 500


class CatalogueCalls(Calls):
    """What is registered. A `name` may be `name@version_or_alias` wherever a version is meant."""

    async def register_model(
        self, name: str, *, description: str = "", labels: Mapping[str, str] | None = None, licence: str = ""
    ) -> Model:
        """Create a model, or replace the description, labels and licence of an existing one.

        Raises:
            InvalidInputError: the name or the metadata is malformed.
        """
        request = pb.RegisterModelRequest(name=name, description=description, labels=labels, licence=licence)
        return convert.model_from_pb(await self._connection.call(self._connection.registry.RegisterModel, request))

    async def model(self, name: str) -> Model:
        """Return a model with its aliases and newest version; raise NotFoundError if there is none."""
        request = pb.GetModelRequest(name=resolve(name).model)
        return convert.model_from_pb(await self._connection.call(self._connection.registry.GetModel, request))

    async def models(self, prefix: str = "") -> list[Model]:
        """Return all models whose names begin with the prefix, in name order."""
        request = pb.ListModelsRequest(name_prefix=prefix, page_size=PAGE_SIZE)
        pages = self._pages(self._connection.registry.ListModels, request)
        return [convert.model_from_pb(model) async for page in pages for model in page.models]

    async def search(self, condition: str = "", *, order_by: str = "") -> list[tuple[Model, Version]]:
        """Return the versions that a filter finds, each with its model. What was pushed a moment ago may be missing.

        Args:
            condition: a filter in the language of docs/filters.md; every version where empty.
            order_by: fields separated by commas, each perhaps with " desc"; else by model and age, newest first.

        Raises:
            InvalidInputError: the filter or the order is not understood; the message names the column.
        """
        request = pb.SearchRequest(filter=condition, order_by=order_by, page_size=PAGE_SIZE)
        pages = self._pages(self._connection.registry.Search, request)
        found = [result async for page in pages for result in page.results]
        return [(convert.model_from_pb(r.model), convert.version_from_pb(r.version)) for r in found]

    async def delete_model(self, name: str) -> None:
        """Delete a model with all its versions and aliases.

        Raises:
            NotFoundError: there is none.
            PreconditionError: a version of it is deployed.
        """
        request = pb.DeleteModelRequest(name=name)
        await self._connection.call(self._connection.registry.DeleteModel, request, retry=False)

    async def version(self, name: str, version: str = "") -> Version:
        """Return a version by its name or alias, the newest where none is given.

        Raises:
            NotFoundError: there is none.
        """
        reference = resolve(name, version)
        request = pb.GetVersionRequest(model=reference.model, version=reference.version)
        return convert.version_from_pb(await self._connection.call(self._connection.registry.GetVersion, request))

    async def versions(self, name: str) -> list[Version]:
        """Return all versions of a model, the oldest first; raise NotFoundError if there is no such model."""
        request = pb.ListVersionsRequest(model=resolve(name).model, page_size=PAGE_SIZE)
        pages = self._pages(self._connection.registry.ListVersions, request)
        found = [convert.version_from_pb(version) async for page in pages for version in page.versions]
        return sorted(found, key=lambda version: version.create_time_s)

    async def delete_version(self, name: str, version: str = "") -> None:
        """Delete one version, which must be named.

        Raises:
            InvalidInputError: no version is named, or an alias is.
            NotFoundError: there is none.
            PreconditionError: it is deployed, or an alias points at it.
        """
        reference = resolve(name, version)
        request = pb.DeleteVersionRequest(model=reference.model, version=reference.version)
        await self._connection.call(self._connection.registry.DeleteVersion, request, retry=False)

    async def set_alias(self, name: str, alias: str, version: str = "") -> Alias:
        """Point an alias at a version (the newest where none is given), whatever it pointed at.

        Raises:
            NotFoundError: there is no such model or version.
            AlreadyExistsError: a version has that name.
        """
        reference = resolve(name, version)
        request = pb.SetAliasRequest(model=reference.model, alias=alias, version=reference.version)
        return convert.alias_from_pb(await self._connection.call(self._connection.registry.SetAlias, request))

    async def delete_alias(self, name: str, alias: str) -> None:
        """Delete an alias; its version stays. Raises NotFoundError if there is none."""
        request = pb.DeleteAliasRequest(model=name, alias=alias)
        await self._connection.call(self._connection.registry.DeleteAlias, request, retry=False)

    async def _pages(self, method: Any, request: Any) -> AsyncGenerator[Any, None]:
        while True:
            page = await self._connection.call(method, request)
            yield page
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token
