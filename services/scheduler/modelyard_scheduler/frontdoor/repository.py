"""Triton's model repository on top of registry and deployments: what there is, and its loading and unloading.

The extension is described in Triton's docs/protocol/extension_model_repository.md. Loaded means deployed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Protocol

from modelyard.catalogue import Version
from modelyard.deployment import Deployment, InstanceState
from modelyard.errors import ModelExecutionError, UnavailableError
from modelyard.names import ModelVersion
from modelyard.oip import messages
from modelyard.oip.repository import check_repository, wanted_to_load, wanted_to_unload
from modelyard_scheduler.frontdoor.demand import URGENT_S, Demand
from modelyard_scheduler.frontdoor.table import RoutingTable

LOAD_S = 120.0
"""How long a load or unload that has no deadline is waited for."""
MAX_INDEXED = 10_000
"""So many versions that are not deployed are listed."""
ModelIndex = messages.RepositoryIndexResponse.ModelIndex


class Control(Protocol):
    """Who is asked: see frontdoor/control.py."""

    async def find_version(self, model: str, reference: str) -> Version:
        """Ask for a version by its name, an alias's, or (empty) the newest."""

    def registered(self) -> AsyncIterator[ModelVersion]:
        """Every version that is not deleted."""

    async def deploy(self, version: ModelVersion, tenant: str) -> None:
        """Declare that a version shall be served."""

    async def undeploy(self, model: str, version: str, tenant: str) -> list[ModelVersion]:
        """Withdraw a version, or all of a model where none is named; return which."""


class Repository:
    """Every version with its state, as READY, LOADING or UNAVAILABLE and why."""

    def __init__(self, table: RoutingTable, control: Control, demand: Demand) -> None:
        self._table = table
        self._control = control
        self._demand = demand

    async def index(self, request: messages.RepositoryIndexRequest) -> messages.RepositoryIndexResponse:
        """List what is deployed and, unless only what is READY is wanted, what is registered.

        Raises:
            UnimplementedError: a repository is named; there is one only.
            UnavailableError: the registry does not answer, and is needed.
        """
        check_repository(request.repository_name)
        found = {str(v): _entry(v, *self._state(d)) for v, d in self._deployed()}
        if request.ready:
            return messages.RepositoryIndexResponse(models=[m for m in found.values() if m.state == "READY"])
        count = 0
        async for version in self._control.registered():
            count += str(version) not in found
            found.setdefault(str(version), _entry(version, "UNAVAILABLE", "not deployed"))
            if count >= MAX_INDEXED:
                break
        return messages.RepositoryIndexResponse(models=[found[name] for name in sorted(found)])

    async def load(self, request: messages.RepositoryModelLoadRequest, tenant: str, timeout_s: float | None) -> None:
        """Deploy a version unless it is, and wait until an instance of it answers calls.

        Raises:
            NotFoundError: no such model or version.
            ModelExecutionError: it failed to load; the message is the reason.
            UnavailableError: it was not READY in time.
        """
        wanted = wanted_to_load(request)
        found = await self._control.find_version(wanted.model, wanted.version)
        version = ModelVersion(wanted.model, found.version)
        if not await self._table.is_deployed(version):
            await self._control.deploy(version, tenant)
        await self._wait(lambda: self._is_loaded(version), timeout_s, f"model {str(version)!r}: not READY in time")

    async def unload(
        self, request: messages.RepositoryModelUnloadRequest, tenant: str, timeout_s: float | None
    ) -> None:
        """Undeploy a version, or all of the model, and wait until calls of it are routed nowhere.

        Raises:
            NotFoundError: no such model, or it is not deployed.
            UnavailableError: that was not so in time.
        """
        wanted = wanted_to_unload(request)
        ended = await self._control.undeploy(wanted.model, wanted.version, tenant)
        late = f"model {wanted.model!r}: not unloaded in time"
        await self._wait(lambda: not any(self._table.streams(v) for v in ended), timeout_s, late)

    async def _wait(self, is_done: Callable[[], bool], timeout_s: float | None, late: str) -> None:
        try:
            async with asyncio.timeout(LOAD_S if timeout_s is None else timeout_s):
                while not is_done():
                    await self._table.changed()
        except TimeoutError:
            raise UnavailableError(late, retry_after_s=1.0) from None

    def _is_loaded(self, version: ModelVersion) -> bool:
        route = self._table.route(version.model, version.version)
        if route is None:
            return False
        if route.deployment.on_demand:
            self._demand.note(version, URGENT_S)
        if not route.connected and (failure := self._table.failure(version)):
            raise ModelExecutionError(f"model {str(version)!r}: failed to load on {failure}")
        return route.connected

    def _deployed(self) -> Iterable[tuple[ModelVersion, Deployment]]:
        deployments = sorted(self._table.deployments.items.items())
        return ((ModelVersion(d.model, d.version), d) for _, d in deployments)

    def _state(self, deployment: Deployment) -> tuple[str, str]:
        """A deployed version's state as Triton names it, and the reason where it is not READY."""
        version = ModelVersion(deployment.model, deployment.version)
        found = self._table.instances.items.values()
        states = {i.state for i in found if (i.model, i.version) == (version.model, version.version)}
        if InstanceState.READY in states or any(s.connected for s in self._table.streams(version)):
            return "READY", ""
        if InstanceState.LOADING in states:
            return "LOADING", ""
        if failure := self._table.failure(version):
            return "UNAVAILABLE", f"failed to load on {failure}"
        if deployment.on_demand:
            return "UNAVAILABLE", "loaded at its first call"
        return "LOADING", "no instance of it yet"


def _entry(version: ModelVersion, state: str, reason: str) -> ModelIndex:
    return ModelIndex(name=version.model, version=version.version, state=state, reason=reason)
