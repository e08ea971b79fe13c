"""Purging: what was deleted and can no longer be brought back, and what has expired, goes for good."""

from __future__ import annotations

from collections.abc import Container
from functools import partial
from typing import TypeVar

from modelyard import codec, keys
from modelyard.catalogue import Hold, Lifecycle, Model, Request, Version
from modelyard.etcd import Compare, Delete, Etcd, KeyValue
from modelyard.names import ModelVersion
from modelyard_registry.catalogue.records import whole_model
from modelyard_registry.catalogue.scan import scan

REQUEST_S = 86_400.0
"""How long a request's id is remembered."""

T = TypeVar("T")


class Purge:
    """Deletes records, each only as long as it is what it was when it was looked at."""

    def __init__(self, etcd: Etcd) -> None:
        self._etcd = etcd

    async def run(self, now_s: float, *, dry_run: bool = False) -> list[str]:
        """Purge models and versions that are DELETED and past their time, but not deployed; ids of requests that are
        older than a day; and holds that have expired.

        Args:
            now_s: the time, in seconds since the epoch.
            dry_run: only say what would go.

        Returns:
            the versions that are gone, as `model@version`, and the models, with all they had, as `model`.

        Raises:
            UnavailableError: etcd is away.
        """
        purged: dict[str, None] = {}
        async for page in scan(self._etcd, keys.MODELS):
            for kv in page:
                if name := await self._purge_record(kv, now_s, purged, dry_run):
                    purged[name] = None
        if not dry_run:
            await self._purge_expired(now_s)
        return list(purged)

    async def _purge_record(self, kv: KeyValue, now_s: float, purged: Container[str], dry_run: bool) -> str:
        """Purge one record below `models/` if it is due; its name if that is a model or a version."""
        model, _, rest = kv.key.removeprefix(keys.MODELS).partition("/")
        if not rest:
            due = _is_over(_read(Model, kv), now_s)
            return model if due and (dry_run or await self._purge_model(kv, model)) else ""
        if model in purged:  # it went with its model
            return ""
        kind, _, name = rest.partition("/")
        if kind == "versions" and _is_over(_read(Version, kv), now_s):
            undeployed = Compare(keys.deployment(model, name), 0)
            return str(ModelVersion(model, name)) if dry_run or await self._delete(kv, undeployed) else ""
        return ""

    async def _purge_model(self, kv: KeyValue, name: str) -> bool:
        compares = [_same(kv), Compare(keys.deployments(name), 0, prefix=True)]
        return bool(await self._etcd.commit(compares, whole_model(name)))

    async def _purge_expired(self, now_s: float) -> None:
        async for page in scan(self._etcd, keys.REQUESTS):
            for kv in page:
                request = _read(Request, kv)
                if request and request.create_time_s + REQUEST_S <= now_s:
                    await self._delete(kv)
        async for page in scan(self._etcd, keys.HOLDS):
            for kv in page:
                hold = _read(Hold, kv)
                if hold and has_expired(hold, now_s):
                    await self._delete(kv)

    async def _delete(self, kv: KeyValue, *compares: Compare) -> bool:
        return bool(await self._etcd.commit([_same(kv), *compares], [Delete(kv.key)]))


def has_expired(hold: Hold, now_s: float) -> bool:
    """Whether a hold is over."""
    return 0 < hold.expire_time_s <= now_s


def _is_over(record: Model | Version | None, now_s: float) -> bool:
    return record is not None and record.state is Lifecycle.DELETED and record.expire_time_s <= now_s


def _same(kv: KeyValue) -> Compare:
    return Compare(kv.key, kv.mod_revision, "mod")


def _read(kind: type[T], kv: KeyValue) -> T | None:
    return codec.understood(partial(codec.decode, kind), kv.key, kv.value)  # what cannot be read is not purged
