"""The catalogue: every change one transaction on etcd, every artifact whole before its version is visible."""

from __future__ import annotations

import asyncio
import dataclasses
import tempfile
import time
from pathlib import Path

from modelyard import codec, keys
from modelyard.catalogue import Alias, Manifest, Model, Resources, Version
from modelyard.errors import (
    AbortedError,
    AlreadyExistsError,
    ExhaustedError,
    InvalidInputError,
    NotFoundError,
    PreconditionError,
)
from modelyard.etcd import Compare, Delete, Etcd, KeyValue, Put
from modelyard.names import check_name
from modelyard_registry.formats import read_signature
from modelyard_registry.manifests import check_chunks, check_manifest, lay_out, save_manifest
from modelyard_registry.store import ChunkStore

ATTEMPTS = 20
MAX_RECORD_BYTES = 64 << 10


@dataclasses.dataclass(frozen=True)
class Draft:
    """A version that is to be published; an empty `version` asks for the next number."""

    model: str
    version: str
    format: str
    manifest: Manifest
    resources: Resources
    labels: dict[str, str]
    description: str
    tenant: str


class Catalogue:
    """Models, versions and aliases."""

    def __init__(self, etcd: Etcd, store: ChunkStore) -> None:
        self._etcd = etcd
        self._store = store

    async def register(self, model: Model) -> Model:
        """Create a model, or change what is said of it; owner and time of creation stay."""
        check_name("model", model.name)
        key = keys.model(model.name)
        for _ in range(ATTEMPTS):
            found = await self._etcd.get(key)
            if found:
                old = codec.decode(Model, found.value)
                model = dataclasses.replace(model, tenant=old.tenant, create_time_s=old.create_time_s)
            else:
                model = dataclasses.replace(model, create_time_s=time.time())
            compare = Compare(key, found.mod_revision if found else 0, "mod")
            if await self._etcd.commit([compare], [Put(key, _record(model))]):
                return await self.model(model.name)
        raise AbortedError(f"model {model.name!r}: others keep changing it")

    async def model(self, name: str) -> Model:
        """Return a model with its aliases and newest version."""
        record = await self._model_record(name)
        return await self._completed(codec.decode(Model, record.value))

    async def _completed(self, model: Model) -> Model:
        aliases = await self._aliases(model.name)
        newest = _newest(await self._versions(model.name))
        return dataclasses.replace(
            model, aliases=tuple(aliases.values()), latest_version=newest.version if newest else ""
        )

    async def _model_record(self, name: str) -> KeyValue:
        check_name("model", name)
        found = await self._etcd.get(keys.model(name))
        if found is None:
            raise NotFoundError(f"model {name!r}: not registered")
        return found

    async def _versions(self, model: str) -> list[Version]:
        listing = await self._etcd.list(keys.versions(model))
        return [codec.decode(Version, kv.value) for kv in listing.items.values()]

    async def _aliases(self, model: str) -> dict[str, Alias]:
        listing = await self._etcd.list(keys.aliases(model))
        found = (codec.decode(Alias, kv.value) for kv in listing.items.values())
        return {alias.name: alias for alias in found}

    async def models(self, prefix: str, after: str, limit: int) -> list[Model]:
        """Return at most `limit` models in name order whose names begin with the prefix and come after `after`."""
        start = keys.model(after) + "\0" if after else keys.model(prefix)
        found: list[Model] = []
        while len(found) < limit:
            page = await self._etcd.page(keys.model(prefix), start, 4 * limit)
            names = (kv.key.removeprefix(keys.MODELS) for kv in page)
            for name, kv in zip(names, page, strict=True):
                if "/" not in name and len(found) < limit:
                    found.append(await self._completed(codec.decode(Model, kv.value)))
            if len(page) < 4 * limit:
                break
            start = page[-1].key + "\0"
        return found

    async def delete_model(self, name: str) -> None:
        """Delete a model with all its versions and aliases; refused while one is deployed."""
        record = await self._model_record(name)
        compares = [
            Compare(record.key, record.mod_revision, "mod"),
            Compare(f"{keys.DEPLOYMENTS}{name}@", 0, prefix=True),
        ]
        if not await self._etcd.commit(compares, [Delete(record.key), Delete(record.key + "/", prefix=True)]):
            raise PreconditionError(f"model {name!r}: a version of it is deployed; undeploy it first")

    async def create_version(self, draft: Draft) -> Version:
        """Publish a version.

        Raises:
            DataLossError: a chunk is missing or has another length.
            InvalidInputError: the artifact is not of its format, or a name or the manifest is malformed.
            AlreadyExistsError: that version has other content. Equal content is no error.
        """
        await self._model_record(draft.model)
        if draft.version:
            check_name("version", draft.version)
        check_manifest(draft.manifest)
        await check_chunks(self._store, draft.manifest)
        with tempfile.TemporaryDirectory() as scratch:
            await self._lay_out(draft.manifest, Path(scratch))
            signature = await asyncio.to_thread(read_signature, draft.format, Path(scratch))
        version = Version(
            model=draft.model,
            version=draft.version,
            format=draft.format,
            signature=signature,
            resources=draft.resources,
            manifest_digest=await save_manifest(self._store, draft.manifest),
            size_bytes=draft.manifest.size_bytes,
            labels=draft.labels,
            description=draft.description,
            tenant=draft.tenant,
            create_time_s=time.time(),
        )
        return await self._publish(version)

    async def _lay_out(self, manifest: Manifest, directory: Path) -> None:
        try:
            await lay_out(self._store, manifest, directory)
        except OSError as error:
            raise ExhaustedError(f"no room to check {manifest.size_bytes} bytes: {error.strerror}") from error

    async def _publish(self, draft: Version) -> Version:
        for _ in range(ATTEMPTS):
            version = dataclasses.replace(draft, version=draft.version or await self._next_number(draft.model))
            model = await self._model_record(draft.model)
            key = keys.version(version.model, version.version)
            compares = [Compare(model.key, model.create_revision), Compare(key, 0)]
            if await self._etcd.commit(compares, [Put(key, _record(version))]):
                return version
            existing = await self._etcd.get(key)
            if existing and draft.version:
                return _same_or_refuse(codec.decode(Version, existing.value), version)
        raise AbortedError(f"model {draft.model!r}: others keep publishing versions of it")

    async def _next_number(self, model: str) -> str:
        numbers = [int(v.version) for v in await self._versions(model) if v.version.isdecimal()]
        return str(max(numbers, default=0) + 1)

    async def version(self, model: str, reference: str) -> Version:
        """Return a version by its name or alias; the newest where the reference is empty."""
        await self._model_record(model)
        if not reference:
            newest = _newest(await self._versions(model))
            if newest is None:
                raise NotFoundError(f"model {model!r}: it has no version yet")
            return newest
        check_name("version", reference)
        alias = await self._etcd.get(keys.alias(model, reference))
        name = codec.decode(Alias, alias.value).version if alias else reference
        found = await self._etcd.get(keys.version(model, name))
        if found is None:
            known = ", ".join(v.version for v in await self._versions(model)) or "none"
            raise NotFoundError(f"model {model!r}: no version or alias {reference!r}; it has {known}")
        return codec.decode(Version, found.value)

    async def versions(self, model: str, after: str, limit: int) -> list[Version]:
        """Return at most `limit` versions in key order, after the one named."""
        await self._model_record(model)
        start = keys.version(model, after) + "\0" if after else keys.versions(model)
        page = await self._etcd.page(keys.versions(model), start, limit)
        return [codec.decode(Version, kv.value) for kv in page]

    async def delete_version(self, model: str, name: str) -> None:
        """Delete a version; refused while it is deployed or an alias names it."""
        version = await self.version(model, check_name("version", name))
        if version.version != name:
            raise InvalidInputError(f"model {model!r}: expected a version, got the alias {name!r}")
        for alias in (await self._aliases(model)).values():
            if alias.version == name:
                raise PreconditionError(f"{model}@{name}: the alias {alias.name!r} names it; move or delete that first")
        key = keys.version(model, name)
        if not await self._etcd.commit([Compare(keys.deployment(model, name), 0)], [Delete(key)]):
            raise PreconditionError(f"{model}@{name}: it is deployed; undeploy it first")

    async def set_alias(self, model: str, alias: Alias) -> Alias:
        """Point an alias at a version, whatever it pointed at."""
        check_name("alias", alias.name)
        version = await self.version(model, alias.version)
        if await self._etcd.get(keys.version(model, alias.name)):
            raise AlreadyExistsError(f"{model}@{alias.name}: expected an alias, but a version has that name")
        moved = dataclasses.replace(alias, version=version.version, update_time_s=time.time())
        key = keys.alias(model, alias.name)
        version_key = keys.version(model, version.version)
        held = await self._etcd.get(version_key)
        compare = Compare(version_key, held.create_revision if held else -1)
        if not await self._etcd.commit([compare], [Put(key, _record(moved))]):
            raise AbortedError(f"{model}@{version.version}: it was deleted meanwhile")
        return moved

    async def delete_alias(self, model: str, name: str) -> None:
        """Delete an alias."""
        key = keys.alias(model, check_name("alias", name))
        found = await self._etcd.get(key)
        if found is None:
            raise NotFoundError(f"model {model!r}: no alias {name!r}")
        await self._etcd.commit([Compare(key, found.mod_revision, "mod")], [Delete(key)])


def _record(value: Model | Version | Alias) -> bytes:
    data = codec.encode(value)
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidInputError(f"metadata: expected at most {MAX_RECORD_BYTES} bytes, got {len(data)}")
    return data


def _newest(versions: list[Version]) -> Version | None:
    return max(versions, key=lambda v: v.create_time_s, default=None)


def _same_or_refuse(existing: Version, version: Version) -> Version:
    if (existing.manifest_digest, existing.format) == (version.manifest_digest, version.format):
        return existing
    raise AlreadyExistsError(
        f"{version.model}@{version.version}: exists with manifest {existing.manifest_digest[:12]}, "
        f"got {version.manifest_digest[:12]}; versions never change"
    )
