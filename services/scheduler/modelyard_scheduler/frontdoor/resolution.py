"""What a name means: a version, or an alias and by chance or key its canary version; and what is not deployed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from modelyard.catalogue import Alias, Version
from modelyard.errors import InvalidInputError, PreconditionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.affinity import draw
from modelyard_scheduler.frontdoor.aliases import Aliases
from modelyard_scheduler.frontdoor.dispatch import RETRY_AFTER_S
from modelyard_scheduler.frontdoor.table import Route, RoutingTable

FindVersion = Callable[[str, str], Awaitable[Version]]
"""Asks the registry for a version: by its name, an alias, or (empty) the newest."""


class Shares(NamedTuple):
    """How the calls of a name go: `percent` of them by `canary`, if there is one."""

    stable: Route
    canary: Route | None = None
    percent: float = 0.0


class Resolution:
    """Finds the routes of names. A model may be named `mlp`, or `mlp@1` and `mlp@stable` with a version or an alias.

    Every method raises NotFoundError if there is no such model or version, PreconditionError if it is not deployed,
    UnavailableError if it was deployed just now, or nobody can tell, and InvalidInputError if two versions are named.
    """

    def __init__(self, table: RoutingTable, aliases: Aliases, find_version: FindVersion) -> None:
        """`find_version` is asked only to tell what is not deployed from what does not exist."""
        self._table = table
        self._aliases = aliases
        self._find_version = find_version

    async def route(self, model: str, version: str, key: str = "") -> Route:
        """How a call goes; `key` is what decides which version of an alias, where not chance does."""
        if "@" in model:
            model, version = _split(model, version)
        return self._table.route(model, version) or await self._route_by_alias(model, version, key)

    async def shares(self, model: str, version: str) -> Shares:
        """How the calls of a name go, for who draws himself."""
        if "@" in model:
            model, version = _split(model, version)
        alias = None if self._table.route(model, version) else await self._alias(model, version)
        stable = self._table.route(model, alias.version) if alias else None
        if alias is None or stable is None:
            return Shares(await self.route(model, version))
        canary = self._table.route(model, alias.canary_version) if alias.canary_version else None
        return Shares(stable, canary, alias.canary_percent) if canary and canary.connected else Shares(stable)

    async def _route_by_alias(self, model: str, version: str, key: str) -> Route:
        alias = await self._alias(model, version)
        if alias and (route := self._route_of(alias, model, key)):
            return route
        return await self._route_slowly(model, version)

    async def _alias(self, model: str, name: str) -> Alias | None:
        """Those of a model that is not deployed at all are not followed."""
        if not name or self._table.route(model) is None:
            return None
        return self._aliases.known(model, name) or await self._aliases.find(model, name)

    def _route_of(self, alias: Alias, model: str, key: str) -> Route | None:
        """To the canary version only while that has an instance."""
        route = self._table.route(model, draw(alias, key))
        return route if route and route.connected else self._table.route(model, alias.version)

    async def _route_slowly(self, model: str, version: str) -> Route:
        """Ask the registry what a name means that is not known to be deployed."""
        found = await self._find_version(model, version)
        route = self._table.route(model, found.version)
        if route is not None:
            return route
        wanted = ModelVersion(model, found.version)
        if await self._table.is_deployed(wanted):
            raise UnavailableError(
                f"model {str(wanted)!r}: it was deployed just now, no instance of it is READY",
                retry_after_s=RETRY_AFTER_S,
            )
        raise PreconditionError(f"model {str(wanted)!r}: registered but not deployed; deploy it first")


def _split(model: str, version: str) -> tuple[str, str]:
    """`mlp@stable` as model and version; raises InvalidInputError if another version is named beside it."""
    name, _, named = model.partition("@")
    if version not in {"", named}:
        raise InvalidInputError(f"model_version: expected {named!r} or none beside {model!r}, got {version!r}")
    return name, named
