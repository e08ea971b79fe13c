"""What a training job does with the version that it has made: an alias is moved to it, and it is deployed.

Both are decided by what the registry and etcd have now, so that whoever leads next comes to the same: what is so
already is done. What cannot be done costs itself alone; the version is there.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from modelyard.catalogue import Version
from modelyard.deployment import Deployment
from modelyard.errors import AbortedError, ModelyardError, NotFoundError, UnavailableError
from modelyard.jobs.release import shortfall, weights_only
from modelyard.jobs.training import TrainingSpec
from modelyard_scheduler.orders import Order
from modelyard_scheduler.service import Deployments

log = logging.getLogger(__name__)

FindVersion = Callable[[str, str], Awaitable[Version]]
SetAlias = Callable[[Version, str, str], Awaitable[None]]
"""Has an alias mean a version, for a tenant. AlreadyExistsError, PreconditionError, UnavailableError."""


class Releases:
    """Releases versions."""

    def __init__(
        self,
        deployments: Deployments,
        find_version: FindVersion,
        set_alias: SetAlias,
        check_leads: Callable[[], Awaitable[None]],
    ) -> None:
        """Nothing is asked yet.

        Args:
            deployments: are written for as long as the term lasts.
            find_version: asks the registry for a model's version, or an alias's.
            set_alias: asks the registry.
            check_leads: raises AbortedError if the term is over.
        """
        self._deployments = deployments
        self._check_leads = check_leads
        self._find_version = find_version
        self._set_alias = set_alias

    async def release(self, spec: TrainingSpec, name: str, tenant: str) -> str:
        """Do with a version what a job was told to; return what was not done, and why: empty: nothing.

        Raises:
            UnavailableError: the registry or etcd is away, or others keep changing what is deployed: later again.
            AbortedError: the term is over.
        """
        try:
            version = await self._find_version(spec.model, name)
        except UnavailableError:
            raise
        except ModelyardError as error:
            return error.message
        if reason := weights_only(version):
            return f"version {name} is weights only, it could not be exported: {reason}"
        alias = f"the alias {spec.release.alias!r} was not moved"
        undone = [
            await self._said(alias, self._point(spec, version, tenant)) if spec.release.alias else "",
            await self._said("it was not deployed", self._deploy(spec, version, tenant)) if spec.release.deploy else "",
        ]
        return "; ".join(filter(None, undone))

    async def _point(self, spec: TrainingSpec, version: Version, tenant: str) -> str:
        try:
            before = await self._find_version(spec.model, spec.release.alias)
        except NotFoundError:
            before = None
        if before is not None and before.version == version.version:
            return ""
        if before is not None and (reason := _objection(spec, version, before)):
            return reason
        await self._check_leads()  # the registry knows of no terms
        await self._set_alias(version, spec.release.alias, tenant)
        return ""

    async def _deploy(self, spec: TrainingSpec, version: Version, tenant: str) -> str:
        deployed = await self._deployments.of_model(spec.model)
        if version.version in deployed:
            return ""
        newest = max(deployed.values(), key=lambda one: one.version_time_s, default=None)
        if newest is not None and spec.release.if_better:
            before = await self._find_version(spec.model, newest.version)
            if reason := _objection(spec, version, before):
                return reason
        await self._deployments.deploy(_order(version, newest), tenant)
        return ""

    async def _said(self, what: str, doing: Awaitable[str]) -> str:
        """What was not done, and why; empty: it was."""
        try:
            reason = await doing
        except UnavailableError:
            raise
        except AbortedError as error:
            await self._check_leads()
            raise UnavailableError(error.message) from error
        except ModelyardError as error:
            reason = error.message
        if not reason:
            return ""
        log.warning("not released", extra={"what": what, "reason": reason})
        return f"{what}: {reason}"


def _objection(spec: TrainingSpec, version: Version, before: Version) -> str:
    """Why a version is not to take another's place."""
    return shortfall(version, before, spec.objective) if spec.release.if_better else ""


def _order(version: Version, newest: Deployment | None) -> Order:
    """One that replaces what is deployed, once it is READY: as the newest of these is deployed; else one replica."""
    if newest is None:
        return Order(version.model, version.version)
    return Order(
        version.model,
        version.version,
        newest.replicas,
        newest.options,
        newest.on,
        newest.on_demand,
        newest.idle_s,
        replace=True,
    )
