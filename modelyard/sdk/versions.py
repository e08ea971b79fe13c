"""Versions: the registry's calls on them that carry no chunks."""

from __future__ import annotations

from collections.abc import Mapping

from modelyard.catalogue import Version
from modelyard.compatibility import Comparison
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.connection import Calls, resolve
from modelyard.sdk.masks import mask_of
from modelyard.sdk.pages import pages
from modelyard.sdk.references import model_of
from modelyard.v1 import registry_pb2 as pb


class VersionCalls(Calls):
    """What is published. A `name` may be `name@version_or_alias`."""

    async def version(self, name: str, version: str = "") -> Version:
        """Return a version by its name, DELETED or not, or by an alias; the newest where none is given.

        Raises:
            NotFoundError: there is none.
            PreconditionError: the model is DELETED.
        """
        reference = resolve(name, version)
        request = pb.GetVersionRequest(model=reference.model, version=reference.version)
        return convert.version_from_pb(await self._connection.call(self._connection.registry.GetVersion, request))

    async def versions(self, name: str, *, show_deleted: bool = False) -> list[Version]:
        """Return all versions of a model, the oldest first; DELETED ones only where asked for.

        Raises:
            InvalidInputError: the name is of a version.
            NotFoundError: there is no such model.
        """
        request = build(pb.ListVersionsRequest, model=model_of(name), show_deleted=show_deleted)
        listing = pages(self._connection, self._connection.registry.ListVersions, request)
        found = [convert.version_from_pb(version) async for page in listing for version in page.versions]
        return sorted(found, key=lambda version: version.create_time_s)

    async def update_version(
        self,
        name: str,
        version: str = "",
        *,
        description: str | None = None,
        labels: Mapping[str, str] | None = None,
        metrics: Mapping[str, float] | None = None,
        etag: str = "",
    ) -> Version:
        """Change what is said of a version, which must be named; what is None stays as it is.

        Args:
            name: the model, or `model@version`.
            version: which one.
            description: what it is.
            labels: all of them: others are removed.
            metrics: all of them: others are removed.
            etag: the version's when it was read: nothing is changed if it has changed since.

        Raises:
            InvalidInputError: no version is named, nothing is to be changed, or a value is malformed.
            NotFoundError: there is none.
            AbortedError: the etag is no longer the version's.
            PreconditionError: the version is DELETED.
        """
        reference = resolve(name, version)
        changed = build(
            pb.Version,
            model=reference.model,
            version=reference.version,
            description=description or "",
            labels=labels,
            metrics=metrics,
            etag=etag,
        )
        mask = mask_of(description=description, labels=labels, metrics=metrics)
        request = pb.UpdateVersionRequest(version=changed, update_mask=mask)
        # With an etag, a second attempt after a lost answer would find the etag changed by the first.
        method = self._connection.registry.UpdateVersion
        return convert.version_from_pb(await self._connection.call(method, request, retry=not etag))

    async def delete_version(self, name: str, version: str = "", *, purge: bool = False, etag: str = "") -> Version:
        """Delete one version, which must be named; until its `expire_time_s`, `undelete_version` brings it back.

        Args:
            name: the model, or `model@version`.
            version: which one.
            purge: for good, without that grace period; a version that is DELETED already, too.
            etag: the version's when it was read: it is not deleted if it has changed since.

        Raises:
            InvalidInputError: no version is named, or an alias is.
            NotFoundError: there is none.
            PreconditionError: it is deployed, or an alias points at it.
            AbortedError: the etag is no longer the version's.
        """
        reference = resolve(name, version)
        request = build(
            pb.DeleteVersionRequest, model=reference.model, version=reference.version, purge=purge, etag=etag
        )
        method = self._connection.registry.DeleteVersion
        return convert.version_from_pb(await self._connection.call(method, request, retry=False))

    async def undelete_version(self, name: str, version: str = "") -> Version:
        """Bring a DELETED version back, which must be named; one that is not DELETED is returned as it is.

        Raises:
            NotFoundError: there is none: it may have been purged.
            PreconditionError: the model is DELETED.
        """
        reference = resolve(name, version)
        request = pb.UndeleteVersionRequest(model=reference.model, version=reference.version)
        method = self._connection.registry.UndeleteVersion
        return convert.version_from_pb(await self._connection.call(method, request))

    async def compare(self, base: str, other: str) -> Comparison:
        """Say whether whoever calls one version can call another, and in what the two differ.

        Args:
            base: `model@version_or_alias`, or `model` for its newest version.
            other: likewise; of the same model or another.

        Raises:
            NotFoundError: one of them is not there.
            DataLossError: the manifest of one of them is damaged.
        """
        request = build(pb.CompareVersionsRequest, base=base, other=other)
        answer = await self._connection.call(self._connection.registry.CompareVersions, request)
        return convert.comparison_from_pb(answer)
