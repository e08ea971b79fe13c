"""Push: a version's files into the registry, and what is said of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path

from modelyard import chunks
from modelyard.catalogue import Lineage, Resources, Signature, Version
from modelyard.errors import AlreadyExistsError, InvalidInputError, ModelyardError, NotFoundError
from modelyard.names import ModelVersion, check_name
from modelyard.rpc import convert
from modelyard.rpc.build import build
from modelyard.sdk.aliases import AliasCalls
from modelyard.sdk.connection import resolve
from modelyard.sdk.meter import OnProgress
from modelyard.sdk.models import ModelCalls
from modelyard.sdk.upload import Upload, scan
from modelyard.sdk.versions import VersionCalls
from modelyard.v1 import registry_pb2 as pb


class PublishCalls(ModelCalls, VersionCalls, AliasCalls):
    """Versions on their way into the catalogue."""

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
        lineage: Lineage | None = None,
        metrics: Mapping[str, float] | None = None,
        declared: Signature | None = None,
        progress: OnProgress | None = None,
    ) -> Version:
        """Publish a file or a directory as a version, and register the model if it is new.

        Only what the registry lacks is sent: a push that broke off goes on where it was when repeated. An error that
        comes when the version is published already, and only the alias could not be moved, says so: its `published` is
        the version as `model@version`.

        Args:
            name: the model, or `model@version`.
            path: a .onnx or .pt2 file, or a directory with exactly one artifact.
            version: its name; the next number where empty.
            alias: a name to point at it once it is published.
            labels: of the version, and of the model if it is new.
            description: of the version, and of the model if it is new.
            licence: of the model if it is new.
            resources: what one instance needs.
            lineage: where it came from; its parent of the same model may be written as the version alone.
            metrics: what was measured of it.
            declared: the signature that it is expected to have; a side without tensors declares nothing.
            progress: called in the client's event loop with what has been read and sent.

        Raises:
            InvalidInputError: there is no artifact, or a name or value is malformed.
            AlreadyExistsError: that version has other content, or a version has the alias's name.
            PreconditionError: the artifact is not as declared, or the model is DELETED; or the version breaks callers
                of the alias, and `set_alias` can force that to move.
            DataLossError: a file changed while it was read.
            UnavailableError, ExhaustedError: the registry could not be reached in time; its store is full.
        """
        if path == "":
            raise InvalidInputError("path: expected a file or a directory, got an empty path")
        reference = resolve(name, version)
        said = build(
            pb.RegisterModelRequest, name=reference.model, description=description, labels=labels, licence=licence
        )
        request = build(
            pb.CreateVersionRequest,
            model=reference.model,
            version=reference.version,
            description=description,
            labels=labels,
            metrics=metrics,
            resources=convert.resources_to_pb(resources or Resources()),
            lineage=convert.lineage_to_pb(lineage or Lineage()),
            declared=convert.signature_to_pb(declared) if declared else None,
            new_model=said,
        )
        if alias:
            await self._check_alias(reference, alias)
        await self._upload(Path(path), request, progress)
        published = await self._publish(request)
        if alias:
            await self._point(alias, published)
        return published

    async def _check_alias(self, reference: ModelVersion, alias: str) -> None:
        """Raise what can be known before the upload to keep the alias from pointing at the version."""
        if check_name("alias", alias) == reference.version:
            raise InvalidInputError(f"alias: expected another name than the version's, got {alias!r} for both")
        try:
            taken = (await self.version(reference.model, alias)).version == alias
        except NotFoundError:
            return
        if taken:
            raise AlreadyExistsError(f"{reference.model}@{alias}: expected an alias, but a version has that name")

    async def _point(self, alias: str, published: Version) -> None:
        """Point the alias at what was published; an error says that this was done."""
        try:
            await self.set_alias(published.model, alias, published.version)
        except ModelyardError as error:
            name = f"{published.model}@{published.version}"
            failure = type(error)(f"{name} is published, but: {error.message}", retry_after_s=error.retry_after_s)
            failure.published = name
            raise failure from None

    async def _upload(self, path: Path, request: pb.CreateVersionRequest, progress: OnProgress | None) -> None:
        """Upload the files and say in the request which they are."""
        manifest = await scan(path, progress)
        request.format = chunks.guess_format(manifest)
        request.manifest.CopyFrom(convert.manifest_to_pb(manifest))
        request.upload = uuid.uuid4().hex
        await Upload(self._connection, chunks.root_of(path), manifest, progress, request.upload).run()

    async def _publish(self, request: pb.CreateVersionRequest) -> Version:
        """Create the version, and in one step with it the model if that is new."""
        # By its id the registry knows a second attempt: it never becomes a second version.
        request.request_id = uuid.uuid4().hex
        answer = await self._connection.call(self._connection.registry.CreateVersion, request)
        return convert.version_from_pb(answer)
