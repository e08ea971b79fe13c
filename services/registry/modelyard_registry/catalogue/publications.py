"""Publication: a version becomes visible, gets its number, and what is older than its model keeps is deleted."""

from __future__ import annotations

import dataclasses
import time

from modelyard import codec, keys
from modelyard.catalogue import Counter, Lineage, Model, Request, Version
from modelyard.errors import AlreadyExistsError, PreconditionError
from modelyard.etcd import Compare, Etcd, KeyValue, Put
from modelyard.names import ModelVersion, check_name, parse_reference
from modelyard_registry.catalogue.records import Records, Tries, check_active_version, check_labels, put
from modelyard_registry.catalogue.retention import Retention

MAX_DIGITS = 9
"""A name that a user gives does not count as a number if it has more digits than these."""
TICK_S = 1e-6


class Publications:
    """Publishes versions. Several replicas may do so at once."""

    def __init__(self, etcd: Etcd, retention: Retention) -> None:
        self._etcd = etcd
        self._records = Records(etcd)
        self._retention = retention

    async def check_model(self, name: str, new: Model | None = None) -> None:
        """Raise what `publish` would because of the model."""
        await self._owner(name, new)

    async def _owner(self, name: str, new: Model | None) -> tuple[Compare, list[Put]]:
        """The condition that the model stays as it is; where there is none, that, and what registers it."""
        if new is None or await self._etcd.get(keys.model(name)):
            return (await self._records.active_model(name)).unchanged(), []
        check_labels(new.labels)
        now_s = time.time()
        registered = dataclasses.replace(new, name=name, create_time_s=now_s, update_time_s=now_s)
        return Compare(keys.model(name), 0), [put(keys.model(name), registered)]

    async def of_request(self, model: str, request_id: str) -> Version | None:
        """Return the version that a request has created, None if it has not.

        Raises:
            PreconditionError: it has, and that is purged.
        """
        found = await self._etcd.get(keys.request(model, check_name("request", request_id)))
        if found is None:
            return None
        name = codec.decode(Request, found.value).version
        version = await self._records.version_named(model, name)
        if version is None:
            raise PreconditionError(f"{model}@{name}: request {request_id} created it, and it has been purged since")
        return version.value

    async def publish(self, draft: Version, request_id: str = "", new_model: Model | None = None) -> Version:
        """Make a version visible; an empty name becomes the next number. Then the model's retention is applied.

        Of two versions of a model the one that is published later also has the later time of creation.

        Args:
            draft: the version.
            request_id: a request that has created a version before creates no other: that one is returned.
            new_model: what the model is registered as, in one step with the version, if there is none.

        Raises:
            NotFoundError: no such model.
            AlreadyExistsError: that version has other content, or an alias has its name. Equal content and needs
                are no error: that version is returned as it is.
            PreconditionError: the model, or that version, is deleted.
        """
        check_labels(draft.labels)
        published = await self._published(draft, request_id, new_model)
        await self._retention.apply(draft.model)
        return published

    async def _published(self, draft: Version, request_id: str, new_model: Model | None) -> Version:
        tries = Tries(f"model {draft.model!r}")
        while True:
            await tries.next()
            if request_id and (earlier := await self.of_request(draft.model, request_id)):
                return earlier
            unchanged, registered = await self._owner(draft.model, new_model)
            held = await self._etcd.get(keys.counter(draft.model))
            counter = codec.decode(Counter, held.value) if held else Counter()
            name = check_name("version", draft.version or await self._next_number(draft.model, counter))
            time_s = max(draft.create_time_s, counter.create_time_s + TICK_S)
            version = dataclasses.replace(draft, version=name, create_time_s=time_s, update_time_s=time_s)
            compares = [unchanged, _unchanged(draft.model, held), *_absent(version, request_id)]
            puts = [*registered, put(keys.version(draft.model, name), version)]
            puts += [_counted(version, counter, given=not draft.version), *_requested(version, request_id)]
            if revision := await self._etcd.commit(compares, puts):
                return dataclasses.replace(version, etag=str(revision))
            if draft.version and (existing := await self._existing(version)):
                return existing

    async def _existing(self, version: Version) -> Version | None:
        """The version of that name if it is the same; None if there is none."""
        if await self._etcd.get(keys.alias(version.model, version.version)):
            reference = f"{version.model}@{version.version}"
            raise AlreadyExistsError(f"{reference}: expected a new name, but an alias has that one")
        found = await self._records.version_named(version.model, version.version)
        if found is None:
            return None
        existing = check_active_version(found).value
        if (existing.manifest_digest, existing.format) == (version.manifest_digest, version.format):
            if existing.resources == version.resources:
                return existing
            raise AlreadyExistsError(
                f"{version.model}@{version.version}: exists with {existing.resources}, got {version.resources}; "
                "what a version needs never changes"
            )
        raise AlreadyExistsError(
            f"{version.model}@{version.version}: exists with manifest {existing.manifest_digest[:12]}, "
            f"got {version.manifest_digest[:12]}; versions never change"
        )

    async def _next_number(self, model: str, counter: Counter) -> str:
        number = counter.number + 1
        while await self._etcd.get(keys.alias(model, str(number))):
            number += 1
        return str(number)

    async def resolved(self, model: str, lineage: Lineage) -> Lineage:
        """Return a lineage with the parent as "model@version"; it may be given without the model, or by an alias.

        Raises:
            InvalidInputError: the parent is not written as that.
            NotFoundError: there is no such version.
        """
        if not lineage.parent_version:
            return lineage
        parent = lineage.parent_version
        reference = parse_reference(parent if "@" in parent else f"{model}@{parent}")
        await self._records.model(reference.model)
        found = await self._records.version(reference.model, reference.version)
        return dataclasses.replace(lineage, parent_version=str(ModelVersion(reference.model, found.value.version)))


def _absent(version: Version, request_id: str) -> list[Compare]:
    taken = [keys.version(version.model, version.version), keys.alias(version.model, version.version)]
    return [Compare(key, 0) for key in (*taken, *([keys.request(version.model, request_id)] if request_id else []))]


def _unchanged(model: str, counter: KeyValue | None) -> Compare:
    return Compare(keys.counter(model), counter.mod_revision if counter else 0, "mod")


def _counted(version: Version, counter: Counter, *, given: bool) -> Put:
    """The operation that remembers number and time; `given`: the name is the next number, not the user's."""
    counts = version.version.isdecimal() and (given or len(version.version) <= MAX_DIGITS)
    number = max(counter.number, int(version.version) if counts else 0)
    return Put(keys.counter(version.model), codec.encode(Counter(number, version.create_time_s)))


def _requested(version: Version, request_id: str) -> list[Put]:
    """The operation that remembers what the request created, if it has an id."""
    created = Request(version.version, version.create_time_s)
    return [Put(keys.request(version.model, request_id), codec.encode(created))] if request_id else []
