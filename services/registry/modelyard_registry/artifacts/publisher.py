"""Publishing: nothing of a version is visible before all its chunks are here and its signature has been read.

From before the chunks are looked for until the version is committed they are held, so that a collection meanwhile
spares them; from then on it is the version that keeps them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import time
import uuid
from collections.abc import AsyncIterator
from functools import partial

from modelyard.catalogue import Lineage, Manifest, Model, Resources, Signature, Version
from modelyard.compatibility import check_declared
from modelyard.errors import InvalidInputError, UnavailableError
from modelyard.names import check_name
from modelyard_registry.artifacts.holds import Holds
from modelyard_registry.artifacts.layout import lay_out, scratch_directory
from modelyard_registry.artifacts.manifests import check_chunks, check_manifest, digest_of, save_manifest
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.artifacts.uploads import owner_of
from modelyard_registry.catalogue.publications import Publications
from modelyard_registry.catalogue.records import check_labels, check_metrics
from modelyard_registry.formats.inspector import Inspector
from modelyard_registry.formats.known import check_format, check_sizes, looked_at
from modelyard_registry.formats.signatures import check_signature

log = logging.getLogger(__name__)

_MOST = {"memory_bytes": (1 << 63) - 1, "gpu": (1 << 31) - 1}
"""What the API's messages carry of each need; any finite number of cores."""


@dataclasses.dataclass(frozen=True)
class Draft:
    """A version that is to be published.

    Attributes:
        version: its name; empty: the next number.
        declared: the signature that the user expects of the artifact; a side without tensors: any.
        request_id: a second draft with the same one, within a day, is answered with the version of the first.
        upload: the name under which the chunks were sent.
    """

    model: str
    version: str
    format: str
    manifest: Manifest
    resources: Resources
    labels: dict[str, str]
    description: str
    tenant: str
    lineage: Lineage = dataclasses.field(default_factory=Lineage)
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)
    declared: Signature = dataclasses.field(default_factory=Signature)
    request_id: str = ""
    upload: str = ""
    new_model: Model | None = None
    """What the model is registered as if there is none; None: there must be one."""


class Publisher:
    """Turns drafts into versions."""

    def __init__(self, publications: Publications, store: ChunkStore, inspector: Inspector, holds: Holds) -> None:
        self._publications = publications
        self._store = store
        self._inspector = inspector
        self._holds = holds

    async def create_version(self, draft: Draft) -> Version:
        """Publish a version, and let go what was held for its upload.

        Raises:
            NotFoundError: no such model, or no such parent version.
            InvalidInputError: the artifact is not of its format, or a name or the manifest is malformed.
            PreconditionError: the artifact's signature is not as declared, or the model is deleted.
            DataLossError: a chunk is missing or damaged.
            ExhaustedError: a disk is full.
            AlreadyExistsError: that version has other content, or an alias has its name. Equal content is no error.
        """
        check_name("model", draft.model)
        version = await self._earlier(draft) or await self._new(draft)
        if draft.upload:
            await self._release(owner_of(draft.upload, draft.tenant))
        return version

    async def _earlier(self, draft: Draft) -> Version | None:
        """What an earlier request with the same id has created."""
        return await self._publications.of_request(draft.model, draft.request_id) if draft.request_id else None

    async def _new(self, draft: Draft) -> Version:
        check_draft(draft)
        await self._publications.check_model(draft.model, draft.new_model)
        lineage = await self._publications.resolved(draft.model, draft.lineage)
        async with self._held(draft):
            await check_chunks(self._store, draft.manifest)
            signature = check_signature("signature", await self._signature(draft))
            check_declared(draft.declared, signature)
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
                lineage=lineage,
                metrics=draft.metrics,
            )
            return await self._publications.publish(version, draft.request_id, draft.new_model)

    @contextlib.asynccontextmanager
    async def _held(self, draft: Draft) -> AsyncIterator[None]:
        """Hold the chunks and that of the manifest; a registry that is killed leaves the hold to expire."""
        owner = f"publish/{uuid.uuid4().hex}"
        try:
            chunks = [*draft.manifest.chunk_sizes(), digest_of(draft.manifest)]
            await self._holds.hold(owner, chunks, tenant=draft.tenant)
            yield
        finally:
            await self._release(owner)

    async def _release(self, owner: str) -> None:
        try:
            await self._holds.release(owner)
        except UnavailableError as error:  # what was to be done is done: the hold expires by itself
            log.warning("hold left to expire", extra={"owner": owner, "reason": str(error)})

    async def _signature(self, draft: Draft) -> Signature:
        async with scratch_directory(self._store.scratch_directory) as directory:
            await lay_out(self._store, draft.manifest, directory, partial(looked_at, draft.format))
            return await self._inspector.signature(draft.format, directory)


def check_draft(draft: Draft) -> None:
    """Raise InvalidInputError if anything is malformed that can be seen without the artifact."""
    if draft.version:
        check_name("version", draft.version)
    if draft.upload:
        check_name("upload", draft.upload)
    check_resources(draft.resources)
    check_metrics(draft.metrics)
    check_labels(draft.labels)
    check_signature("declared signature", draft.declared)
    check_format(draft.format)
    check_manifest(draft.manifest)
    check_sizes(draft.format, draft.manifest.files)


def check_resources(resources: Resources) -> None:
    """Raise InvalidInputError unless every need is a finite number, 0 or more, that the API's messages carry."""
    for name, value in dataclasses.asdict(resources).items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInputError(f"resources: {name}: expected a number, 0 or more, got {value}")
        if value > _MOST.get(name, math.inf):
            raise InvalidInputError(f"resources: {name}: expected at most {_MOST[name]}, got {value}")
