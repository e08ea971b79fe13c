"""Deployments: desired state, written with compare-and-set. Any replica can do this; only placing needs the leader."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Sequence

from modelyard import codec, keys
from modelyard.catalogue import Lifecycle, Model, Resources, Version
from modelyard.deployment import Deployment, InstanceState
from modelyard.errors import AbortedError, ExhaustedError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, Put
from modelyard.names import ModelVersion, check_name
from modelyard_scheduler.explain import explain
from modelyard_scheduler.placement import preference, unfit
from modelyard_scheduler.state import State

MAX_REPLICAS = 1000
RUNNER_BYTES = 128 << 20
"""A runner's own memory, for a version that does not state its need."""
ATTEMPTS = 20


def estimate(version: Version) -> Resources:
    """What an instance needs: as stated, else a runner and twice the artifact (weights, and as prepacked)."""
    stated = version.resources
    return dataclasses.replace(stated, memory_bytes=stated.memory_bytes or RUNNER_BYTES + 2 * version.size_bytes)


def _unchanged(version: Version) -> Compare:
    """The condition that a version is still what the registry said, which nobody has deleted."""
    if version.state is Lifecycle.DELETED:
        raise PreconditionError(f"{version.model}@{version.version}: it is deleted; undelete it first")
    return Compare(keys.version(version.model, version.version), int(version.etag), "mod")


class Deployments:
    """Deploy, undeploy, list and explain."""

    def __init__(self, etcd: Etcd, state: State, find_version: Callable[[str, str], Awaitable[Version]]) -> None:
        """`find_version` asks the registry for a model's version, alias or (empty) newest."""
        self._etcd = etcd
        self._state = state
        self._find_version = find_version

    async def deploy(self, model: str, reference: str, replicas: int, tenant: str) -> Deployment:
        """Declare that a version shall be served.

        Raises:
            NotFoundError: no such model, version or alias.
            InvalidInputError: replicas out of range.
            PreconditionError: the version, or the model, is deleted.
            ExhaustedError: no live worker could hold it even if it were empty.
        """
        check_name("model", model)
        replicas = replicas or 1
        if not 0 < replicas <= MAX_REPLICAS:
            raise InvalidInputError(f"replicas: expected 1 to {MAX_REPLICAS}, got {replicas}")
        for _ in range(ATTEMPTS):
            version = await self._find_version(model, reference)
            self._check_fits(version)
            key = keys.deployment(model, version.version)
            published = [await self._unchanged(model), _unchanged(version)]
            held = await self._etcd.get(key)
            deployment = Deployment(
                model=model,
                version=version.version,
                replicas=replicas,
                resources=estimate(version),
                manifest_digest=version.manifest_digest,
                format=version.format,
                tenant=codec.decode(Deployment, held.value).tenant if held else tenant,
                create_time_s=codec.decode(Deployment, held.value).create_time_s if held else time.time(),
                version_time_s=version.create_time_s,
            )
            compares = [*published, Compare(key, held.mod_revision if held else 0, "mod")]
            if await self._etcd.commit(compares, [Put(key, codec.encode(deployment))]):
                return deployment
        raise AbortedError(f"deployment {model!r}: others keep changing it")

    async def _unchanged(self, model: str) -> Compare:
        """The condition that a model stays as it is, which nobody has deleted."""
        found = await self._etcd.get(keys.model(model))
        if found and codec.decode(Model, found.value).state is Lifecycle.DELETED:
            raise PreconditionError(f"model {model!r}: it is deleted; undelete it first")
        return Compare(keys.model(model), found.mod_revision if found else -1, "mod")

    def _check_fits(self, version: Version) -> None:
        workers = self._state.workers.items
        need = estimate(version)
        reasons = {w.id: unfit(need, w) for w in workers.values()}
        if workers and all(reasons.values()):
            listed = "; ".join(f"{w}: {reason}" for w, reason in sorted(reasons.items())[:5])
            raise ExhaustedError(f"{version.model}@{version.version}: no live worker can hold it: {listed}")

    async def undeploy(self, model: str, reference: str) -> list[str]:
        """Withdraw a version, or with an empty reference all versions of the model; return which.

        Raises:
            NotFoundError: none of that is deployed.
        """
        deployed = await self.of_model(model)
        if reference and reference not in deployed:
            reference = (await self._find_version(model, reference)).version
        versions = [v for v in deployed if reference in ("", v)]
        if not versions:
            what = f"{model}@{reference}" if reference else f"model {model!r}"
            raise NotFoundError(f"{what}: not deployed")
        which = keys.deployment(model, versions[0]) if len(versions) == 1 else keys.deployments(model)
        await self._etcd.commit([], [Delete(which, prefix=len(versions) > 1)])
        return versions

    async def of_model(self, model: str) -> dict[str, Deployment]:
        """The deployments of a model by version, read from etcd itself."""
        prefix = keys.deployments(check_name("model", model))
        listing = await self._etcd.list(prefix)
        return {k.removeprefix(prefix): codec.decode(Deployment, kv.value) for k, kv in listing.items.items()}

    async def get(self, model: str, reference: str) -> Deployment:
        """Return one deployment; of several, where the reference is empty, that of the newest version.

        Raises:
            NotFoundError: it is not deployed, or there is no such version.
        """
        deployed = await self.of_model(model)
        if reference and reference not in deployed:
            reference = (await self._find_version(model, reference)).version
        newest = max(deployed.values(), key=lambda d: d.version_time_s, default=None)
        found = deployed.get(reference) if reference else newest
        if found is None:
            known = await self._find_version(model, reference)
            raise NotFoundError(f"{ModelVersion(model, known.version)}: not deployed")
        return found

    async def select(self, model: str, reference: str) -> Sequence[Deployment]:
        """Return one deployment, or where the reference is empty all of the model, in the order of publication.

        Raises:
            NotFoundError: none of that is deployed, or there is no such version.
        """
        if reference:
            return [await self.get(model, reference)]
        deployed = await self.of_model(model)
        if not deployed:
            return [await self.get(model, reference)]  # says why there is none
        return sorted(deployed.values(), key=lambda d: d.version_time_s)

    async def all(self) -> Sequence[Deployment]:
        """Every deployment, read from etcd itself."""
        listing = await self._etcd.list(keys.DEPLOYMENTS)
        return [codec.decode(Deployment, kv.value) for kv in listing.items.values()]

    async def explain(self, model: str, reference: str) -> Sequence[str]:
        """Why it is, or is not, READY; of what is not deployed, that and where it would go."""
        try:
            deployment = await self.get(model, reference)
        except NotFoundError:
            version = await self._find_version(model, reference)
            return [f"{model}@{version.version}: registered, not deployed", *self._outlook(version)]
        leader = await self._etcd.get(keys.LEADER)
        return explain(deployment, self._state, leader is not None)

    def _outlook(self, version: Version) -> list[str]:
        key = ModelVersion(version.model, version.version)
        ranked = preference(key, self._state.workers.items.values())
        return [f"{w.id}: {unfit(estimate(version), w) or 'could hold it'}" for w in ranked]

    def ready_replicas(self, deployment: Deployment) -> int:
        """How many instances are READY."""
        instances = self._state.instances_of(ModelVersion(deployment.model, deployment.version))
        return sum(i.state is InstanceState.READY for i in instances)
