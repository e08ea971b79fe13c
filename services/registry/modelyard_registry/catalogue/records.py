"""Records of the catalogue: read with their etag, written within etcd's limits, found by name."""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Generic, Self, TypeVar

from modelyard import codec, keys
from modelyard.backoff import Backoff
from modelyard.catalogue import Alias, AliasChange, Lifecycle, Model, Version
from modelyard.errors import AbortedError, InvalidInputError, NotFoundError, PreconditionError
from modelyard.etcd import Compare, Delete, Etcd, KeyValue, Put
from modelyard.names import check_name

MAX_RECORD_BYTES = 64 << 10
MAX_LABELS = 100
MAX_METRICS = 100
MAX_LABEL_BYTES = 256
ATTEMPTS = 100
LISTED_NAMES = 10
NEWEST = 8
"""So many of the newest versions are read first when one that is not deleted is looked for."""

T = TypeVar("T", Model, Version, Alias)
R = TypeVar("R", Model, Version)


@dataclass(frozen=True)
class Stored(Generic[T]):
    """A record as it was read: `value` has its etag."""

    value: T
    key: str
    mod_revision: int

    @classmethod
    def read(cls, kind: type[T], kv: KeyValue) -> Self:
        """Decode a record."""
        return cls._of(codec.decode(kind, kv.value), kv)

    @classmethod
    def read_all(cls, kind: type[T], kvs: Iterable[KeyValue]) -> list[Self]:
        """Decode records; those that nobody can read, of a later release perhaps, take no other down."""
        read = ((kv, codec.understood(partial(codec.decode, kind), kv.key, kv.value)) for kv in kvs)
        return [cls._of(value, kv) for kv, value in read if value is not None]

    @classmethod
    def _of(cls, value: T, kv: KeyValue) -> Self:
        return cls(dataclasses.replace(value, etag=str(kv.mod_revision)), kv.key, kv.mod_revision)

    def unchanged(self) -> Compare:
        """The condition that nobody has changed it since."""
        return Compare(self.key, self.mod_revision, "mod")

    def check_etag(self, etag: str) -> None:
        """Raise AbortedError if an etag is given and the record has another by now."""
        if etag and etag != self.value.etag:
            name = self.key.removeprefix(keys.MODELS)
            raise AbortedError(f"{name}: expected etag {etag}, it is {self.value.etag} by now: read it and decide anew")


def put(key: str, value: Model | Version | Alias | AliasChange) -> Put:
    """The operation that writes a record; what is filled in when it is read is left out.

    Raises:
        InvalidInputError: it is larger than a record may be.
    """
    match value:
        case Model():
            value = dataclasses.replace(value, etag="", aliases=(), latest_version="")
        case Version() | Alias():
            value = dataclasses.replace(value, etag="")
    data = codec.encode(value)
    if len(data) > MAX_RECORD_BYTES:
        raise InvalidInputError(f"metadata: expected at most {MAX_RECORD_BYTES} bytes, got {len(data)}")
    return Put(key, data)


def marked_deleted(record: R, grace_s: float) -> R:
    """Return a record as it is from now on if it is deleted, and can be brought back for so long."""
    now_s = time.time()
    return dataclasses.replace(record, state=Lifecycle.DELETED, update_time_s=now_s, expire_time_s=now_s + grace_s)


def marked_active(record: R) -> R:
    """Return a deleted record as it is from now on if it is brought back."""
    return dataclasses.replace(record, state=Lifecycle.ACTIVE, update_time_s=time.time(), expire_time_s=0.0)


def check_metrics(metrics: Mapping[str, float]) -> None:
    """Raise InvalidInputError unless there are at most 100, and each has a name and is a finite number."""
    if len(metrics) > MAX_METRICS:
        raise InvalidInputError(f"metrics: expected at most {MAX_METRICS}, got {len(metrics)}")
    for name, value in metrics.items():
        check_name("metric", name)
        if not math.isfinite(value):
            raise InvalidInputError(f"metric {name!r}: expected a finite number, got {value}")


def check_labels(labels: dict[str, str]) -> None:
    """Raise InvalidInputError unless there are at most 100, their keys are names and their values at most 256 bytes."""
    if len(labels) > MAX_LABELS:
        raise InvalidInputError(f"labels: expected at most {MAX_LABELS}, got {len(labels)}")
    for key, value in labels.items():
        check_name("label", key)
        if len(value.encode()) > MAX_LABEL_BYTES:
            raise InvalidInputError(
                f"label {key!r}: expected a value of at most {MAX_LABEL_BYTES} bytes, got {len(value.encode())}"
            )


def check_active(model: Stored[Model]) -> Stored[Model]:
    """Return the record; raise PreconditionError if the model is deleted."""
    if model.value.state is Lifecycle.DELETED:
        raise PreconditionError(f"model {model.value.name!r}: it is deleted; {_remedy(model.value.expire_time_s)}")
    return model


def check_active_version(version: Stored[Version]) -> Stored[Version]:
    """Return the record; raise PreconditionError if the version is deleted."""
    held = version.value
    if held.state is Lifecycle.DELETED:
        raise PreconditionError(f"{held.model}@{held.version}: it is deleted; {_remedy(held.expire_time_s)}")
    return version


def whole_model(name: str) -> list[Put | Delete]:
    """The operations that delete a model's record and all that belongs to it."""
    below = (f"{keys.model(name)}/", keys.history(name), keys.requests(name))
    own = (keys.model(name), keys.counter(name))
    return [*(Delete(key) for key in own), *(Delete(prefix, prefix=True) for prefix in below)]


class Tries:
    """Tries at a transaction that others may overtake, with a pause between them."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._left = ATTEMPTS
        self._backoff = Backoff(0.002, 0.1)

    async def next(self) -> None:
        """Return when the next try is due; raise AbortedError after a hundred of them."""
        if not self._left:
            raise AbortedError(f"{self._what}: others keep changing it")
        if self._left < ATTEMPTS:
            await asyncio.sleep(self._backoff.next())
        self._left -= 1


class Records:
    """Reads records by name, linearizably."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def model(self, name: str) -> Stored[Model]:
        """Return a model's record; raise NotFoundError if there is none."""
        found = await self._etcd.get(keys.model(check_name("model", name)))
        if found is None:
            raise NotFoundError(f"model {name!r}: not registered")
        return Stored[Model].read(Model, found)

    async def active_model(self, name: str) -> Stored[Model]:
        """Return the record of a model that is not deleted.

        Raises:
            NotFoundError: there is none.
            PreconditionError: it is deleted.
        """
        return check_active(await self.model(name))

    async def version(self, model: str, reference: str) -> Stored[Version]:
        """Return a version's record, by its name or alias; the newest that is not deleted where the reference is empty.

        Raises:
            NotFoundError: there is none.
        """
        if not reference:
            newest = await self.newest(model)
            if newest is None:
                raise NotFoundError(f"model {model!r}: it has no version yet")
            return newest
        tries = Tries(f"{model}@{check_name('version', reference)}")
        while True:
            await tries.next()
            alias = await self.alias(model, reference)
            found = await self.version_named(model, alias.value.version if alias else reference)
            usable = found and not (alias and found.value.state is Lifecycle.DELETED)
            if found and (usable or await self.alias(model, reference) == alias):
                return found
            if found is None and await self.alias(model, reference) == alias:  # else it has moved under the look
                known = _listed([key.removeprefix(keys.versions(model)) for key in await self._names(model)])
                raise NotFoundError(f"model {model!r}: no version or alias {reference!r}; it has {known}")

    async def _names(self, model: str) -> list[str]:
        return list(await self._etcd.keys(keys.versions(model)))

    async def version_named(self, model: str, name: str) -> Stored[Version] | None:
        """Return the record of the version that has this very name, not by an alias; None if there is none."""
        found = await self._etcd.get(keys.version(model, name))
        return Stored[Version].read(Version, found) if found else None

    async def active_version(self, model: str, reference: str) -> Stored[Version]:
        """Return the record of a version that is not deleted.

        Raises:
            NotFoundError: there is none.
            PreconditionError: it is deleted.
        """
        return check_active_version(await self.version(model, reference))

    async def newest(self, model: str, at: int = 0) -> Stored[Version] | None:
        """Return the version that was published last and is not deleted, now or at a revision; None without one."""
        limit = NEWEST
        while True:
            page = await self._etcd.newest(keys.versions(model), limit, at)
            for found in Stored[Version].read_all(Version, page):
                if found.value.state is Lifecycle.ACTIVE:
                    return found
            if len(page) < limit:
                return None
            limit *= 8

    async def alias(self, model: str, name: str) -> Stored[Alias] | None:
        """Return an alias's record; None if there is none."""
        found = await self._etcd.get(keys.alias(model, check_name("alias", name)))
        return Stored[Alias].read(Alias, found) if found else None

    async def aliases(self, model: str) -> tuple[list[Alias], int]:
        """Return the aliases of a model in name order, and the revision at which they were."""
        listing = await self._etcd.list(keys.aliases(model))
        return [alias.value for alias in Stored[Alias].read_all(Alias, listing.items.values())], listing.revision

    async def completed(self, model: Stored[Model]) -> Model:
        """Return a model with its aliases and newest version, both as they were at one moment."""
        aliases, revision = await self.aliases(model.value.name)
        newest = await self.newest(model.value.name, at=revision)
        latest = newest.value.version if newest else ""
        return dataclasses.replace(model.value, aliases=tuple(aliases), latest_version=latest)


def _remedy(expire_time_s: float) -> str:
    when = datetime.fromtimestamp(expire_time_s, UTC)
    return f"undelete it before {when:%Y-%m-%d %H:%M} UTC, or purge it"


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:LISTED_NAMES]) or "none"
    more = len(names) - LISTED_NAMES
    return f"{shown} and {more} more" if more > 0 else shown
