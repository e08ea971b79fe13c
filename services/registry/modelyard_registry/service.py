"""The catalogue: models, versions and aliases; every change is one transaction on etcd.

A name is a version's or an alias's, never both. Whoever points an alias at a version also rewrites the version's
record, unchanged, so that a deletion that has looked at the aliases before fails and looks again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

from modelyard import codec, keys
from modelyard.backoff import Backoff
from modelyard.catalogue import Alias, Model, Version
from modelyard.errors import AbortedError, AlreadyExistsError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, KeyValue, Put
from modelyard.names import check_name

ATTEMPTS = 100
MAX_RECORD_BYTES = 64 << 10
SCAN = 256
"""Records read at a time while listing models."""
LISTED_NAMES = 10


class Catalogue:
    """Models, versions and aliases. Several replicas may change the same ones at once."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def register(self, model: Model) -> Model:
        """Create a model, or change what is said of it; owner and time of creation stay."""
        check_name("model", model.name)
        key = keys.model(model.name)
        backoff = _backoff()
        for _ in range(ATTEMPTS):
            found = await self._etcd.get(key)
            old = codec.decode(Model, found.value) if found else dataclasses.replace(model, create_time_s=time.time())
            new = dataclasses.replace(model, tenant=old.tenant, create_time_s=old.create_time_s)
            compare = Compare(key, found.mod_revision if found else 0, "mod")
            if await self._etcd.commit([compare], [Put(key, _record(new))]):
                return await self._completed(new)
            await asyncio.sleep(backoff.next())
        raise AbortedError(f"model {model.name!r}: others keep changing it")

    async def check_model(self, name: str) -> None:
        """Raise NotFoundError unless the model is registered."""
        await self._model_record(name)

    async def model(self, name: str) -> Model:
        """Return a model with its aliases and newest version."""
        record = await self._model_record(name)
        return await self._completed(codec.decode(Model, record.value))

    async def _completed(self, model: Model) -> Model:
        newest = await self._etcd.newest(keys.versions(model.name))
        latest = newest.key.removeprefix(keys.versions(model.name)) if newest else ""
        return dataclasses.replace(model, aliases=tuple(await self._aliases(model.name)), latest_version=latest)

    async def _model_record(self, name: str) -> KeyValue:
        check_name("model", name)
        found = await self._etcd.get(keys.model(name))
        if found is None:
            raise NotFoundError(f"model {name!r}: not registered")
        return found

    async def _aliases(self, model: str) -> list[Alias]:
        listing = await self._etcd.list(keys.aliases(model))
        return [codec.decode(Alias, kv.value) for kv in listing.items.values()]

    async def models(self, prefix: str, after: str, limit: int) -> list[Model]:
        """Return at most `limit` models in name order whose names begin with the prefix and come after `after`."""
        for name in filter(None, (prefix, after)):
            check_name("model", name)
        start = max(keys.model(prefix), keys.model(after) + "\0" if after else "")
        found: list[Model] = []
        while len(found) < limit:
            page = await self._etcd.page(keys.model(prefix), start, SCAN)
            found += [codec.decode(Model, kv.value) for kv in page if "/" not in kv.key.removeprefix(keys.MODELS)]
            if len(page) < SCAN:
                break
            start = _past(page[-1].key)
        return list(await asyncio.gather(*(self._completed(model) for model in found[:limit])))

    async def delete_model(self, name: str) -> None:
        """Delete a model with all its versions and aliases.

        Raises:
            NotFoundError: no such model.
            PreconditionError: a version of it is deployed.
        """
        await self._model_record(name)
        key = keys.model(name)
        undeployed = Compare(f"{keys.DEPLOYMENTS}{name}@", 0, prefix=True)
        if not await self._etcd.commit([undeployed], [Delete(key), Delete(key + "/", prefix=True)]):
            raise PreconditionError(f"model {name!r}: a version of it is deployed; undeploy it first")

    async def publish(self, draft: Version) -> Version:
        """Make a version visible; an empty name becomes the next number.

        Raises:
            NotFoundError: no such model.
            AlreadyExistsError: that version has other content, or an alias has its name. Equal content is no error.
        """
        backoff = _backoff()
        for _ in range(ATTEMPTS):
            model = await self._model_record(draft.model)
            name = draft.version or await self._next_number(draft.model)
            version = dataclasses.replace(draft, version=check_name("version", name))
            key, alias_key = keys.version(draft.model, name), keys.alias(draft.model, name)
            compares = [Compare(model.key, model.create_revision), Compare(key, 0), Compare(alias_key, 0)]
            if await self._etcd.commit(compares, [Put(key, _record(version))]):
                return version
            if draft.version and (existing := await self._etcd.get(key)):
                return _same_or_refuse(codec.decode(Version, existing.value), version)
            if draft.version and await self._etcd.get(alias_key):
                raise AlreadyExistsError(f"{draft.model}@{name}: expected a new name, but an alias has that one")
            await asyncio.sleep(backoff.next())
        raise AbortedError(f"model {draft.model!r}: others keep publishing versions of it")

    async def _next_number(self, model: str) -> str:
        names = await self._names(keys.versions(model)) + await self._names(keys.aliases(model))
        return str(max((int(name) for name in names if name.isdecimal()), default=0) + 1)

    async def _names(self, prefix: str) -> list[str]:
        return [key.removeprefix(prefix) for key in await self._etcd.keys(prefix)]

    async def version(self, model: str, reference: str) -> Version:
        """Return a version by its name or alias; the newest where the reference is empty."""
        return codec.decode(Version, (await self._version_record(model, reference)).value)

    async def _version_record(self, model: str, reference: str) -> KeyValue:
        await self._model_record(model)
        if not reference:
            newest = await self._etcd.newest(keys.versions(model))
            if newest is None:
                raise NotFoundError(f"model {model!r}: it has no version yet")
            return newest
        check_name("version", reference)
        alias = await self._etcd.get(keys.alias(model, reference))
        name = codec.decode(Alias, alias.value).version if alias else reference
        found = await self._etcd.get(keys.version(model, name))
        if found is None:
            known = _listed(await self._names(keys.versions(model)))
            raise NotFoundError(f"model {model!r}: no version or alias {reference!r}; it has {known}")
        return found

    async def versions(self, model: str, after: str, limit: int) -> list[Version]:
        """Return at most `limit` versions in name order, after the one named."""
        await self._model_record(model)
        start = keys.version(model, check_name("version", after)) + "\0" if after else keys.versions(model)
        page = await self._etcd.page(keys.versions(model), start, limit)
        return [codec.decode(Version, kv.value) for kv in page]

    async def delete_version(self, model: str, name: str) -> None:
        """Delete a version.

        Raises:
            NotFoundError: no such model or version.
            InvalidInputError: that is an alias.
            PreconditionError: it is deployed, or an alias names it.
        """
        check_name("version", name)
        backoff = _backoff()
        for _ in range(ATTEMPTS):
            record = await self._version_record(model, name)
            if record.key != keys.version(model, name):
                raise InvalidInputError(f"model {model!r}: expected a version, got the alias {name!r}")
            await self._check_unused(model, name)
            compares = [Compare(record.key, record.mod_revision, "mod"), Compare(keys.deployment(model, name), 0)]
            if await self._etcd.commit(compares, [Delete(record.key)]):
                return
            await asyncio.sleep(backoff.next())
        raise AbortedError(f"{model}@{name}: others keep changing it")

    async def _check_unused(self, model: str, name: str) -> None:
        if await self._etcd.get(keys.deployment(model, name)):
            raise PreconditionError(f"{model}@{name}: it is deployed; undeploy it first")
        for alias in await self._aliases(model):
            if alias.version == name:
                raise PreconditionError(f"{model}@{name}: the alias {alias.name!r} names it; move or delete that first")

    async def set_alias(self, model: str, alias: Alias) -> Alias:
        """Point an alias at a version, whatever it pointed at.

        Raises:
            NotFoundError: no such model or version.
            AlreadyExistsError: a version has that name.
        """
        check_name("alias", alias.name)
        taken = keys.version(model, alias.name)
        backoff = _backoff()
        for _ in range(ATTEMPTS):
            record = await self._version_record(model, alias.version)
            if await self._etcd.get(taken):
                raise AlreadyExistsError(f"{model}@{alias.name}: expected an alias, but a version has that name")
            name = record.key.removeprefix(keys.versions(model))
            moved = dataclasses.replace(alias, version=name, update_time_s=time.time())
            compares = [Compare(record.key, record.create_revision), Compare(taken, 0)]
            puts = [Put(keys.alias(model, alias.name), _record(moved)), Put(record.key, record.value)]
            if await self._etcd.commit(compares, puts):
                return moved
            await asyncio.sleep(backoff.next())
        raise AbortedError(f"{model}@{alias.name}: others keep changing it")

    async def delete_alias(self, model: str, name: str) -> None:
        """Delete an alias, whatever it points at; raise NotFoundError if there is none."""
        key = keys.alias(model, check_name("alias", name))
        await self._model_record(model)
        if await self._etcd.get(key) is None:
            raise NotFoundError(f"model {model!r}: no alias {name!r}")
        await self._etcd.delete(key)


def _backoff() -> Backoff:
    return Backoff(0.002, 0.1)


def _past(key: str) -> str:
    """Where to go on after a key: past all versions and aliases of its model, if it is one of those."""
    model, slash, _ = key.removeprefix(keys.MODELS).partition("/")
    return keys.model(model) + ("0" if slash else "\0")  # "0" follows "/"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED_NAMES]) or "none"
    more = len(names) - LISTED_NAMES
    return f"{shown} and {more} more" if more > 0 else shown


def _record(value: Any) -> bytes:
    data = codec.encode(value)
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidInputError(f"metadata: expected at most {MAX_RECORD_BYTES} bytes, got {len(data)}")
    return data


def _same_or_refuse(existing: Version, version: Version) -> Version:
    if (existing.manifest_digest, existing.format) == (version.manifest_digest, version.format):
        return existing
    raise AlreadyExistsError(
        f"{version.model}@{version.version}: exists with manifest {existing.manifest_digest[:12]}, "
        f"got {version.manifest_digest[:12]}; versions never change"
    )
