"""Deployments: desired state, written with compare-and-set. Any replica can do this; only placing needs the leader."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from modelyard import codec, keys
from modelyard.catalogue import Version
from modelyard.deployment import Deployment
from modelyard.errors import AbortedError, ExhaustedError, NotFoundError
from modelyard.etcd import Compare, Delete, Etcd, KeyValue, Put
from modelyard.names import ModelVersion, check_name
from modelyard_scheduler.explain import explain, explain_jobs
from modelyard_scheduler.load import estimate, stated, unfit
from modelyard_scheduler.orders import Order, check_order
from modelyard_scheduler.outlook import unfit_everywhere
from modelyard_scheduler.preference import preference
from modelyard_scheduler.publication import published
from modelyard_scheduler.state import State

ATTEMPTS = 20
MOST_OTHERS = 100
"""Deployments that one transaction can change beside the one that it is about; etcd allows 128 operations."""
Change = tuple[Compare, Put]
"""Of a record, under the condition that it is as it was read."""
_READ = partial(codec.decode, Deployment)


class Deployments:
    """Deploy, undeploy, list and explain."""

    def __init__(
        self,
        etcd: Etcd,
        state: State,
        find_version: Callable[[str, str], Awaitable[Version]],
        conditions: Sequence[Compare] = (),
    ) -> None:
        """Nothing is read yet.

        Args:
            etcd: where they are.
            state: of the cluster.
            find_version: asks the registry for a model's version, alias or (empty) newest.
            conditions: must hold, too, of whatever is deployed.
        """
        self._conditions = tuple(conditions)
        self._etcd = etcd
        self._state = state
        self._find_version = find_version

    async def deploy(self, order: Order, tenant: str) -> Deployment:
        """Declare that a version shall be served; what others replace is no longer replaced once it is deployed anew.

        Raises:
            NotFoundError: no such model, version or alias.
            InvalidInputError: a field of the order makes no sense.
            PreconditionError: the version, or the model, is deleted.
            ExhaustedError: no live worker could hold it even if it were empty.
        """
        check_order(order)
        for _ in range(ATTEMPTS):
            version = await self._find_version(order.model, order.reference)
            unchanged = [*self._conditions, *await published(self._etcd, version)]
            held = await self._etcd.get(keys.deployment(order.model, version.version))
            siblings = {v: kv for v, kv in (await self._records(order.model)).items() if v != version.version}
            deployment = _ordered(order, version, tenant, held, siblings)
            self._check_fits(deployment)
            key = keys.deployment(order.model, version.version)
            own = Compare(key, held.mod_revision if held else 0, "mod"), Put(key, codec.encode(deployment))
            if await self._write(unchanged, [*_protected(deployment, siblings), own]):
                return deployment
        raise AbortedError(f"deployment {order.model!r}: others keep changing it")

    async def _write(self, conditions: Sequence[Compare], changes: Sequence[Change]) -> bool:
        """Write the changes, the last of which counts; return whether nobody was faster.

        What does not fit into one transaction with it is written before: it does no harm without the last.
        """
        for end in range(len(changes) % MOST_OTHERS or MOST_OTHERS, len(changes) + 1, MOST_OTHERS):
            some = changes[max(0, end - MOST_OTHERS) : end]
            if not await self._etcd.commit([*conditions, *(c for c, _ in some)], [put for _, put in some]):
                return False
        return True

    def _check_fits(self, deployment: Deployment) -> None:
        if reason := unfit_everywhere(deployment, self._state):
            raise ExhaustedError(f"{deployment.model}@{deployment.version}: {reason}")

    async def undeploy(self, model: str, reference: str) -> list[str]:
        """Withdraw a version, or with an empty reference all versions of the model; return which.

        Raises:
            NotFoundError: none of that is deployed.
        """
        deployed = await self._records(check_name("model", model))
        if reference and reference not in deployed:
            reference = (await self._find_version(model, reference)).version
        versions = [v for v in deployed if reference in ("", v)]
        if not versions:
            what = f"{model}@{reference}" if reference else f"model {model!r}"
            raise NotFoundError(f"{what}: not deployed")
        many, only = len(versions) > 1, versions[0]
        which = [keys.deployments(model), keys.activities(model), keys.evictions(model)]
        one = [keys.deployment(model, only), keys.activity(model, only), keys.eviction(model, only)]
        await self._etcd.commit([], [Delete(key, prefix=many) for key in (which if many else one)])
        return versions

    async def of_model(self, model: str) -> dict[str, Deployment]:
        """The deployments of a model by version, read from etcd itself."""
        return _understood(await self._records(check_name("model", model)))

    async def _records(self, model: str) -> dict[str, KeyValue]:
        prefix = keys.deployments(model)
        return {key.removeprefix(prefix): kv for key, kv in (await self._etcd.list(prefix)).items.items()}

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

        What jobs alone want loaded counts, too.

        Raises:
            NotFoundError: none of that is deployed, or there is no such version.
        """
        for_jobs = {v.version: found for v, found in self._state.internal().items() if v.model == model}
        known = for_jobs | await self.of_model(model)
        if reference and reference not in known:
            reference = (await self._find_version(model, reference)).version
        found = [deployment for version, deployment in known.items() if reference in ("", version)]
        if not found:
            return [await self.get(model, reference)]  # says why there is none
        return sorted(found, key=lambda d: d.version_time_s)

    async def all(self) -> Sequence[Deployment]:
        """Every deployment, read from etcd itself."""
        listing = await self._etcd.list(keys.DEPLOYMENTS)
        return list(_understood(listing.items).values())

    async def explain(self, model: str, reference: str) -> Sequence[str]:
        """Why it is, or is not, READY, and what jobs want of it; of what nobody wants, where it could go."""
        leader = await self._etcd.get(keys.LEADER) is not None
        try:
            deployment = await self.get(model, reference)
        except NotFoundError:
            version = await self._find_version(model, reference)
            named = ModelVersion(model, version.version)
            for_jobs = self._explain_jobs(named, leader, every=not reference)
            return [f"{named}: registered, not deployed", *(for_jobs or self._outlook(version))]
        named = ModelVersion(model, deployment.version)
        findings = explain(deployment, self._state, leader)
        return findings + self._explain_jobs(named, leader, every=not reference)

    def _explain_jobs(self, version: ModelVersion, leader: bool, *, every: bool) -> list[str]:
        """What jobs want of a version, or of `every` version of its model."""
        wanted = sorted(v for v in self._state.internal() if v == version or (every and v.model == version.model))
        return [finding for one in wanted for finding in explain_jobs(one, self._state, leader)]

    def _outlook(self, version: Version) -> list[str]:
        key, need = ModelVersion(version.model, version.version), stated(estimate(version))
        ranked = preference(key, self._state.workers.items.values())
        return [f"{w.id}: {unfit(need, w) or 'could hold it'}" for w in ranked]


def _understood(records: Mapping[str, KeyValue]) -> dict[str, Deployment]:
    """The deployments among records that can be read: one that cannot hides no other."""
    read = {name: codec.understood(_READ, kv.key, kv.value) for name, kv in records.items()}
    return {name: deployment for name, deployment in read.items() if deployment is not None}


def _ordered(
    order: Order, version: Version, tenant: str, held: KeyValue | None, siblings: Mapping[str, KeyValue]
) -> Deployment:
    """The deployment that an order makes; one that is changed keeps its tenant and its age."""
    before = codec.understood(_READ, held.key, held.value) if held else None
    return Deployment(
        model=order.model,
        version=version.version,
        replicas=order.replicas or 1,
        resources=estimate(version, order.options.copies),
        manifest_digest=version.manifest_digest,
        format=version.format,
        tenant=before.tenant if before else tenant,
        create_time_s=before.create_time_s if before else time.time(),
        version_time_s=version.create_time_s,
        options=order.options,
        on=order.on,
        on_demand=order.on_demand,
        idle_s=order.idle_s,
        replaces=tuple(sorted(siblings)) if order.replace else (),
    )


def _protected(deployment: Deployment, siblings: Mapping[str, KeyValue]) -> list[Change]:
    """What keeps a deployment from being ended by those that were to replace it."""
    changes: list[Change] = []
    for version, other in _understood(siblings).items():
        if deployment.version in other.replaces:
            rest, kv = tuple(v for v in other.replaces if v != deployment.version), siblings[version]
            put = Put(kv.key, codec.encode(dataclasses.replace(other, replaces=rest)))
            changes.append((Compare(kv.key, kv.mod_revision, "mod"), put))
    return changes
