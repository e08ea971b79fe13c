"""Retention: of a model that keeps so many versions, the older ones that nobody uses are deleted, with grace."""

from __future__ import annotations

import logging

from modelyard import keys
from modelyard.catalogue import Alias, Lifecycle, Version
from modelyard.errors import ModelyardError
from modelyard.etcd import Compare, Etcd
from modelyard_registry.catalogue.jobs import uses_by_jobs
from modelyard_registry.catalogue.records import Records, Stored, Tries, marked_deleted, put

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
        """Delete the versions beyond the newest `keep_last` that are neither deployed nor aliased, nor used by jobs.

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
            gone = [marked_deleted(version, self._grace_s) for version in old[:BATCH]]
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
        published, aliased, deployed = [await self._etcd.list(prefix) for prefix in prefixes]
        used = {key.removeprefix(keys.deployments(model)) for key in deployed.items}
        uses = await uses_by_jobs(self._etcd, model)
        used |= uses.jobs.keys()
        aliases = [stored.value for stored in Stored[Alias].read_all(Alias, aliased.items.values())]
        used |= {version for alias in aliases for version in (alias.version, alias.canary_version)}
        newest_first = sorted(published.items.values(), key=lambda kv: kv.create_revision, reverse=True)
        versions = [stored.value for stored in Stored[Version].read_all(Version, newest_first)]
        active = [version for version in versions if version.state is Lifecycle.ACTIVE]
        listings = zip(prefixes, (published, aliased, deployed), strict=True)
        unchanged = [Compare.unchanged_below(prefix, listing.revision) for prefix, listing in listings]
        old = [version for version in active[keep_last:] if version.version not in used]
        return old, [*unchanged, uses.unchanged]
