"""Models: registered, changed, deleted and brought back."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

from modelyard import keys
from modelyard.catalogue import Lifecycle, Model
from modelyard.errors import InvalidInputError, PreconditionError
from modelyard.etcd import Compare, Etcd
from modelyard.names import check_name
from modelyard_registry.catalogue.jobs import uses_by_jobs
from modelyard_registry.catalogue.records import (
    Records,
    Stored,
    Tries,
    check_active,
    check_labels,
    marked_active,
    marked_deleted,
    put,
    whole_model,
)
from modelyard_registry.catalogue.retention import Retention

SCAN = 256
"""Records read at a time while listing."""


class Models:
    """Models. Several replicas may change the same ones at once."""

    def __init__(self, etcd: Etcd, retention: Retention, grace_s: float) -> None:
        """`grace_s`: how long a deleted model can be brought back."""
        self._etcd = etcd
        self._records = Records(etcd)
        self._retention = retention
        self._grace_s = grace_s

    async def register(self, model: Model) -> Model:
        """Create a model, or change the description, labels and licence of an existing one; all else stays.

        Raises:
            InvalidInputError: the name or the metadata is malformed.
            PreconditionError: it is deleted.
        """
        key = keys.model(check_name("model", model.name))
        check_labels(model.labels)
        said: dict[str, Any] = {"description": model.description, "labels": model.labels, "licence": model.licence}
        tries = Tries(f"model {model.name!r}")
        while True:
            await tries.next()
            now_s = time.time()
            found = await self._etcd.get(key)
            if found is None:
                compare, new = Compare(key, 0), dataclasses.replace(model, create_time_s=now_s, update_time_s=now_s)
            else:
                held = check_active(Stored[Model].read(Model, found))
                compare, new = held.unchanged(), dataclasses.replace(held.value, **said, update_time_s=now_s)
            if revision := await self._etcd.commit([compare], [put(key, new)]):
                return await self._records.completed(
                    Stored(dataclasses.replace(new, etag=str(revision)), key, revision)
                )

    async def get(self, name: str) -> Model:
        """Return a model, deleted or not, with its aliases and newest version; raise NotFoundError if there is none."""
        return await self._records.completed(await self._records.model(name))

    async def page(self, prefix: str, after: str, limit: int, *, deleted: bool = False) -> list[Model]:
        """Return at most `limit` models in name order whose names begin with the prefix and come after `after`.

        With `deleted`, those that are deleted too.
        """
        for name in filter(None, (prefix, after)):
            check_name("model", name)
        start = max(keys.model(prefix), keys.model(after) + "\0" if after else "")
        found: list[Stored[Model]] = []
        while len(found) < limit:
            page = await self._etcd.page(keys.model(prefix), start, SCAN)
            models = Stored[Model].read_all(Model, (kv for kv in page if "/" not in kv.key.removeprefix(keys.MODELS)))
            found += [m for m in models if deleted or m.value.state is Lifecycle.ACTIVE]
            if len(page) < SCAN:
                break
            start = _past(page[-1].key)
        return list(await asyncio.gather(*(self._records.completed(model) for model in found[:limit])))

    async def update(self, name: str, changes: dict[str, Any], etag: str = "") -> Model:
        """Change some of description, labels, licence and keep_last; return the model.

        Raises:
            NotFoundError: there is none.
            InvalidInputError: a value is malformed.
            AbortedError: an etag is given, and it is not the model's any more.
            PreconditionError: the model is deleted.
        """
        check_labels(changes.get("labels", {}))
        if changes.get("keep_last", 0) < 0:
            raise InvalidInputError(f"keep_last: expected 0 or more, got {changes['keep_last']}")
        tries = Tries(f"model {name!r}")
        while True:
            await tries.next()
            held = await self._records.active_model(name)
            held.check_etag(etag)
            new = dataclasses.replace(held.value, **changes, update_time_s=time.time())
            if await self._etcd.commit([held.unchanged()], [put(held.key, new)]):
                await self._retention.apply(name)
                return await self.get(name)

    async def delete(self, name: str, etag: str = "", *, purge: bool = False) -> Model:
        """Delete a model with all its versions and aliases: until its grace period is over, or with `purge` for good.

        Raises:
            NotFoundError: there is none.
            AbortedError: an etag is given, and it is not the model's any more.
            PreconditionError: a version of it is deployed, or a job uses one.
        """
        tries = Tries(f"model {name!r}")
        while True:
            await tries.next()
            held = await self._records.model(name)
            held.check_etag(etag)
            if held.value.state is Lifecycle.DELETED and not purge:
                return await self._records.completed(held)
            new = marked_deleted(held.value, self._grace_s)
            before = await self._records.completed(dataclasses.replace(held, value=new))
            uses = await uses_by_jobs(self._etcd, name)
            uses.check_none(f"model {name!r}")
            undeployed = Compare(keys.deployments(name), 0, prefix=True)
            operations = whole_model(name) if purge else [put(held.key, new)]
            if revision := await self._etcd.commit([held.unchanged(), undeployed, uses.unchanged], operations):
                return dataclasses.replace(before, etag=str(revision))
            if await self._etcd.keys(keys.deployments(name)):
                raise PreconditionError(f"model {name!r}: a version of it is deployed; undeploy it first")

    async def undelete(self, name: str) -> Model:
        """Bring a deleted model back, with its versions and aliases; one that is not deleted is returned as it is.

        Raises:
            NotFoundError: there is none: it may have been purged.
        """
        tries = Tries(f"model {name!r}")
        while True:
            await tries.next()
            held = await self._records.model(name)
            if held.value.state is Lifecycle.ACTIVE:
                return await self._records.completed(held)
            await self._etcd.commit([held.unchanged()], [put(held.key, marked_active(held.value))])


def _past(key: str) -> str:
    """Where to go on after a key: past all that lies below its model, if it is one of those."""
    model, slash, _ = key.removeprefix(keys.MODELS).partition("/")
    return keys.model(model) + ("0" if slash else "\0")  # "0" follows "/"
