"""Versions: read, changed, deleted and brought back."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

from modelyard import keys
from modelyard.catalogue import Lifecycle, Version
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd
from modelyard.names import check_name
from modelyard_registry.catalogue.jobs import uses_by_jobs
from modelyard_registry.catalogue.records import (
    Records,
    Stored,
    Tries,
    check_active_version,
    check_labels,
    check_metrics,
    marked_active,
    marked_deleted,
    put,
)

SCAN = 256
"""Records read at a time while listing."""


class Versions:
    """Versions. Several replicas may change the same ones at once."""

    def __init__(self, etcd: Etcd, grace_s: float) -> None:
        """`grace_s`: how long a deleted version can be brought back."""
        self._etcd = etcd
        self._records = Records(etcd)
        self._grace_s = grace_s

    async def get(self, model: str, reference: str) -> Version:
        """Return a version by its name, deleted or not, or by an alias; the newest where the reference is empty.

        Raises:
            NotFoundError: no such model or version.
            PreconditionError: the model is deleted.
        """
        await self._records.active_model(model)
        return (await self._records.version(model, reference)).value

    async def page(self, model: str, after: str, limit: int, *, deleted: bool = False) -> list[Version]:
        """Return at most `limit` versions in name order, after the one named; with `deleted`, those deleted too."""
        await self._records.model(model)
        start = keys.version(model, check_name("version", after)) + "\0" if after else keys.versions(model)
        found: list[Version] = []
        while len(found) < limit:
            page = await self._etcd.page(keys.versions(model), start, min(limit, SCAN))
            versions = Stored[Version].read_all(Version, page)
            found += [v.value for v in versions if deleted or v.value.state is Lifecycle.ACTIVE]
            if len(page) < min(limit, SCAN):
                break
            start = page[-1].key + "\0"
        return found[:limit]

    async def update(self, model: str, name: str, changes: dict[str, Any], etag: str = "") -> Version:
        """Change some of description, labels and metrics; return the version.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: a value is malformed, or that is an alias.
            AbortedError: an etag is given, and it is not the version's any more.
            PreconditionError: the version, or the model, is deleted.
        """
        check_labels(changes.get("labels", {}))
        check_metrics(changes.get("metrics", {}))
        tries = Tries(f"{model}@{name}")
        while True:
            await tries.next()
            owner = await self._records.active_model(model)
            held = check_active_version(await self._named(model, name))
            held.check_etag(etag)
            new = dataclasses.replace(held.value, **changes, update_time_s=time.time())
            if revision := await self._etcd.commit([owner.unchanged(), held.unchanged()], [put(held.key, new)]):
                return dataclasses.replace(new, etag=str(revision))

    async def _named(self, model: str, name: str) -> Stored[Version]:
        """The version of that name itself, not by an alias."""
        found = await self._records.version_named(model, check_name("version", name))
        if found is None:
            found = await self._records.version(model, name)  # says which there are
            raise InvalidInputError(f"model {model!r}: expected a version, got the alias {name!r}")
        return found

    async def delete(self, model: str, name: str, etag: str = "", *, purge: bool = False) -> Version:
        """Delete a version: until its grace period is over, or with `purge` for good.

        Raises:
            NotFoundError: no such model or version.
            InvalidInputError: that is an alias.
            AbortedError: an etag is given, and it is not the version's any more.
            PreconditionError: it is deployed, a job uses it, or an alias names it; or the model is deleted.
        """
        tries = Tries(f"{model}@{name}")
        while True:
            await tries.next()
            owner = await self._records.active_model(model)
            held = await self._named(model, name)
            held.check_etag(etag)
            if held.value.state is Lifecycle.DELETED and not purge:
                return held.value
            unused = await self._unused(model, name)
            new = marked_deleted(held.value, self._grace_s)
            operation = Delete(held.key) if purge else put(held.key, new)
            if revision := await self._etcd.commit([owner.unchanged(), held.unchanged(), *unused], [operation]):
                return dataclasses.replace(new, etag=str(revision))

    async def _unused(self, model: str, name: str) -> list[Compare]:
        """The conditions that it stays unused, which it is now; raise PreconditionError if it is not."""
        if await self._etcd.get(keys.deployment(model, name)):
            raise PreconditionError(f"{model}@{name}: it is deployed; undeploy it first")
        uses = await uses_by_jobs(self._etcd, model, name)
        uses.check_none(f"{model}@{name}")
        aliases, revision = await self._records.aliases(model)
        for alias in aliases:
            if name in {alias.version, alias.canary_version}:
                raise PreconditionError(f"{model}@{name}: the alias {alias.name!r} names it; move or delete that first")
        undeployed = Compare(keys.deployment(model, name), 0)
        return [undeployed, uses.unchanged, Compare.unchanged_below(keys.aliases(model), revision)]

    async def undelete(self, model: str, name: str) -> Version:
        """Bring a deleted version back; one that is not deleted is returned as it is.

        Raises:
            NotFoundError: there is none: it may have been purged.
            PreconditionError: the model is deleted.
        """
        tries = Tries(f"{model}@{name}")
        while True:
            await tries.next()
            owner = await self._records.active_model(model)
            held = await self._named(model, name)
            if held.value.state is Lifecycle.ACTIVE:
                return held.value
            await self._etcd.commit([owner.unchanged(), held.unchanged()], [put(held.key, marked_active(held.value))])
