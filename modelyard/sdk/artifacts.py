"""Push and pull: a version's files into the registry and out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from modelyard import chunks
from modelyard.catalogue import Manifest, Resources, Version
from modelyard.errors import DeadlineError, InvalidInputError, ModelyardError, NotFoundError, UnavailableError
from modelyard.names import check_name
from modelyard.rpc import convert
from modelyard.sdk.catalogue import CatalogueCalls
from modelyard.sdk.connection import resolve
from modelyard.sdk.download import Download
from modelyard.sdk.meter import Meter, OnProgress
from modelyard.sdk.upload import Upload
from modelyard.v1 import registry_pb2 as pb


class ArtifactCalls(CatalogueCalls):
    """Versions with their bytes."""

    async def push(  # noqa: PLR0913 (what a user says of a version, each by its name)
        self,
        name: str,
        path: str | Path,
        *,
        version: str = "",
        alias: str = "",
        labels: Mapping[str, str] | None = None,
        description: str = "",
        licence: str = "",
        resources: Resources | None = None,
        progress: OnProgress | None = None,
    ) -> Version:
        """Publish a file or a directory as a version, and register the model if it is new.

        Only what the registry lacks is sent: a push that broke off goes on where it was when repeated.

        Args:
            name: the model, or `model@version`.
            path: a .onnx file, or a directory with exactly one.
            version: its name; the next number where empty.
            alias: a name to point at the version once it is published.
            labels: of the version, and of the model if it is new.
            description: of the version, and of the model if it is new.
            licence: of the model if it is new.
            resources: what one instance needs.
            progress: called in the client's event loop with what has been read and sent.

        Raises:
            InvalidInputError: nothing is at the path, or it is no artifact, or a name is malformed.
            AlreadyExistsError: that version has other content.
            DataLossError: a file changed while it was read.
            UnavailableError: the registry could not be reached in time.
            ExhaustedError: the artifact store is full.
        """
        reference = resolve(name, version)
        if alias:
            check_name("alias", alias)
        request = pb.CreateVersionRequest(
            model=reference.model, version=reference.version, labels=labels, description=description
        )
        request.resources.CopyFrom(convert.resources_to_pb(resources or Resources()))
        await self._upload(Path(path), request, progress)
        model = pb.RegisterModelRequest(name=reference.model, description=description, labels=labels, licence=licence)
        published = await self._publish(model, request)
        if alias:
            await self.set_alias(published.model, alias, published.version)
        return published

    async def _upload(self, path: Path, request: pb.CreateVersionRequest, progress: OnProgress | None) -> None:
        """Upload the files and say in the request which they are."""
        manifest = await _scan(path, progress)
        request.format = chunks.guess_format(manifest)
        request.manifest.CopyFrom(convert.manifest_to_pb(manifest))
        await Upload(self._connection, chunks.root_of(path), manifest, progress).run()

    async def _publish(self, model: pb.RegisterModelRequest, request: pb.CreateVersionRequest) -> Version:
        """Create the version; if that is refused, a model that was registered for it is deleted again."""
        new = await self._register_if_new(model)
        try:
            # Without a number of its own a version must not be created twice.
            method = self._connection.registry.CreateVersion
            answer = await self._connection.call(method, request, retry=bool(request.version))
        except (UnavailableError, DeadlineError):
            raise
        except ModelyardError:
            if new and not (await self.model(model.name)).latest_version:
                await self.delete_model(model.name)
            raise
        return convert.version_from_pb(answer)

    async def _register_if_new(self, request: pb.RegisterModelRequest) -> bool:
        try:
            await self.model(request.name)
        except NotFoundError:
            await self._connection.call(self._connection.registry.RegisterModel, request)
            return True
        return False

    async def pull(
        self, name: str, version: str, directory: str | Path, *, progress: OnProgress | None = None
    ) -> Version:
        """Fetch the files of a version into a directory, verified by their sha256; return the version.

        A pull that broke off goes on where it was when repeated; files that are whole are left alone, others replaced.

        Args:
            name: the model, or `model@version_or_alias`.
            version: a version or an alias; the newest where both are empty.
            directory: created if it is missing.
            progress: called in the client's event loop with what has been received.

        Raises:
            NotFoundError: no such model or version.
            DataLossError: bytes arrived that have another sha256.
            UnavailableError: the registry could not be reached in time.
        """
        found = await self.version(name, version)
        directory = Path(directory)
        if directory.exists() and not directory.is_dir():
            raise InvalidInputError(f"{directory}: expected a directory")
        request = pb.GetManifestRequest(digest=found.manifest_digest)
        answer = await self._connection.call(self._connection.registry.GetManifest, request)
        directory.mkdir(parents=True, exist_ok=True)
        await Download(self._connection, convert.manifest_from_pb(answer), directory, progress).run()
        return found


async def _scan(path: Path, progress: OnProgress | None) -> Manifest:
    loop = asyncio.get_running_loop()
    total_bytes = sum(file.stat().st_size for file in await asyncio.to_thread(chunks.find_files, path))
    meter = Meter("read", total_bytes, progress)

    def add(size_bytes: int) -> None:
        loop.call_soon_threadsafe(meter.add, size_bytes)

    return await asyncio.to_thread(chunks.scan, path, add)
