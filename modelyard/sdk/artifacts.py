"""The bytes of versions: pulled, read in part, and removed when nothing refers to them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from modelyard.catalogue import Collected, Manifest, Version
from modelyard.errors import InvalidInputError
from modelyard.rpc import convert
from modelyard.sdk.connection import resolve
from modelyard.sdk.download import Download
from modelyard.sdk.meter import OnProgress
from modelyard.sdk.reading import Reading
from modelyard.sdk.settings import check_timeout
from modelyard.sdk.versions import VersionCalls
from modelyard.v1 import registry_pb2 as pb

COLLECTION_S = 600.0


class ArtifactCalls(VersionCalls):
    """Versions with their bytes. A `name` may be `name@version_or_alias`."""

    async def manifest(self, name: str, version: str = "") -> Manifest:
        """Return the files of a version, the newest where none is given, with their sizes and chunks.

        Raises:
            NotFoundError: no such model or version.
        """
        return await self._manifest(await self.version(name, version))

    async def _manifest(self, version: Version) -> Manifest:
        request = pb.GetManifestRequest(digest=version.manifest_digest)
        return convert.manifest_from_pb(await self._connection.call(self._connection.registry.GetManifest, request))

    async def pull(
        self, name: str, directory: str | Path, *, version: str = "", progress: OnProgress | None = None
    ) -> Version:
        """Fetch the files of a version into a directory, verified by their sha256; return the version.

        A pull that broke off goes on where it was when repeated; files that are whole are left alone, others replaced.

        Args:
            name: the model, or `model@version_or_alias`.
            directory: created if it is missing.
            version: a version or an alias; the newest where none is named.
            progress: called in the client's event loop with what has been received.

        Raises:
            InvalidInputError: the directory is empty text, or a file.
            NotFoundError: no such model or version.
            DataLossError: bytes arrived that have another sha256.
            UnavailableError: the registry could not be reached in time.
        """
        if directory == "":
            raise InvalidInputError("directory: expected a path, got an empty one")
        found = await self.version(name, version)
        directory = Path(directory)
        if await asyncio.to_thread(lambda: directory.exists() and not directory.is_dir()):
            raise InvalidInputError(f"{directory}: expected a directory")
        manifest = await self._manifest(found)
        directory.mkdir(parents=True, exist_ok=True)
        await Download(self._connection, manifest, directory, progress).run()
        return found

    async def read_file(
        self, name: str, path: str, *, version: str = "", offset: int = 0, length: int | None = None
    ) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of one file of a version as they come; a stream that breaks goes on where it was.

        Args:
            name: the model, or `model@version_or_alias`.
            path: the file's, as in the manifest.
            version: a version or an alias; the newest where none is named.
            offset: of the first byte wanted.
            length: how many bytes at most; None: to the end.

        Raises:
            InvalidInputError: the offset or the length is negative, or the offset lies beyond the end.
            NotFoundError: no such model, version or file.
            DataLossError: the store's bytes have another sha256.
            UnavailableError: the registry could not be reached in time.
        """
        if offset < 0 or (length is not None and length < 0):
            raise InvalidInputError(f"{path}: expected an offset and a length of at least 0, got {offset}, {length}")
        reference = resolve(name, version)
        # By its name, not by an alias: that may move while the file is read.
        found = await self.version(reference.model, reference.version)
        async for data in Reading(self._connection, found, path).run(offset, length):
            yield data

    async def collect_garbage(
        self, *, dry_run: bool = False, uploads: bool = False, timeout_s: float = COLLECTION_S
    ) -> Collected:
        """Purge what was deleted and whose grace period is over, and remove chunks that nothing refers to.

        Args:
            dry_run: only say what would be removed.
            uploads: also let go what uploads hold that have not been published; one that is under way then has to be
                repeated.
            timeout_s: the deadline.

        Raises:
            InvalidInputError: timeout_s is not a finite number above 0.
            PreconditionError: another collection is under way.
            DataLossError: a version's manifest cannot be read: nothing was removed.
            AbortedError: the collection could not be sure any more that it is the only one; some was removed.
            UnavailableError: the registry, its etcd or its store could not be reached.
            DeadlineError: it takes longer.
        """
        request = pb.CollectGarbageRequest(dry_run=dry_run, uploads=uploads)
        method = self._connection.registry.CollectGarbage
        answer = await self._connection.call(method, request, timeout_s=check_timeout(timeout_s), retry=dry_run)
        return convert.collected_from_pb(answer)
