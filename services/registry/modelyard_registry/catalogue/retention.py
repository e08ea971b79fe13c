"""Retention: of a model that keeps so many versions, the older ones that nobody uses are deleted, with grace."""

from __future__ import annotations

import dataclasses
import logging
import time

from modelyard import keys
from modelyard.catalogue import Lifecycle, Version
from modelyard.errors import ModelyardError
from modelyard.etcd import Compare, Etcd
from modelyard_registry.catalogue.records import Records, Stored, Tries, put

log = logging.getLogger(__name__)

BATCH = 50
"""So many are deleted in one transaction."""


class Retention:
    """Applies what models keep. Several replicas may do so at once."""

    def __init__(self, etcd: Etcd, grace_s: float) -> None:
        """`grace_s`: how long a deleted version can be brought back."""
        self._etcd = etcd
        self._records = Records(etcd)
        self._grace_s = grace_s

    async def apply(self, model: str) -> None:
        """Delete the versions beyond the newest `keep_last` that are neither deployed nor aliased.

        What was asked for is done when this is called: a failure is logged, and the next publication tries again.
        """
        try:
            await self._apply(model)
        except ModelyardError as error:
            log.error("retention not applied", extra={"model": model, "reason": error.message})

    async def _apply(self, model: str) -> None:
        held = await self._records.model(model)
        if not held.value.keep_last or held.value.state is Lifecycle.DELETED:
            return
        tries = Tries(f"model {model!r}")
        while True:
            await tries.next()
            old, unchanged = await self._surplus(model, held.value.keep_last)
            if not old:
                return
            now_s = time.time()
            gone = [self._deleted(version, now_s) for version in old[:BATCH]]
            puts = [put(keys.version(model, version.version), version) for version in gone]
            if await self._etcd.commit([held.unchanged(), *unchanged], puts):
                names = [version.version for version in gone]
                log.info("versions deleted", extra={"model": model, "versions": names, "kept": held.value.keep_last})
                tries = Tries(f"model {model!r}")
            else:
                held = await self._records.active_model(model)

    async def _surplus(self, model: str, keep_last: int) -> tuple[list[Version], list[Compare]]:
        """The versions to delete, the newest first, and the conditions that nothing of this is different by now."""
        prefixes = (keys.versions(model), keys.aliases(model), keys.deployments(model))
        listings = [await self._etcd.list(prefix) for prefix in prefixes]
        unchanged = [
            Compare(prefix, listing.revision + 1, "mod", prefix=True, less=True)
            for prefix, listing in zip(prefixes, listings, strict=True)
        ]
        deployed = {key.removeprefix(keys.deployments(model)) for key in listings[2].items}
        aliases, _ = await self._records.aliases(model)
        used = deployed | {alias.version for alias in aliases}
        newest_first = sorted(listings[0].items.values(), key=lambda kv: kv.create_revision, reverse=True)
        versions = [stored.value for stored in Stored[Version].read_all(Version, newest_first)]
        active = [version for version in versions if version.state is Lifecycle.ACTIVE]
        return [version for version in active[keep_last:] if version.version not in used], unchanged

    def _deleted(self, version: Version, now_s: float) -> Version:
        return dataclasses.replace(
            version, state=Lifecycle.DELETED, update_time_s=now_s, expire_time_s=now_s + self._grace_s
        )
