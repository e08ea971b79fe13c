"""Publishing: nothing of a version is visible before all its chunks are here and its signature has been read."""

from __future__ import annotations

import dataclasses
import math
import tempfile
import time
from functools import partial
from pathlib import Path

from modelyard.catalogue import Manifest, Resources, Signature, Version
from modelyard.errors import InvalidInputError
from modelyard.names import check_name
from modelyard_registry.artifacts.manifests import check_chunks, check_manifest, lay_out, save_manifest
from modelyard_registry.artifacts.store import ChunkStore
from modelyard_registry.formats.inspector import Inspector
from modelyard_registry.formats.known import check_format, looked_at
from modelyard_registry.service import Catalogue


@dataclasses.dataclass(frozen=True)
class Draft:
    """A version that is to be published; an empty `version` asks for the next number."""

    model: str
    version: str
    format: str
    manifest: Manifest
    resources: Resources
    labels: dict[str, str]
    description: str
    tenant: str


class Publisher:
    """Turns drafts into versions."""

    def __init__(self, catalogue: Catalogue, store: ChunkStore, inspector: Inspector) -> None:
        self._catalogue = catalogue
        self._store = store
        self._inspector = inspector

    async def create_version(self, draft: Draft) -> Version:
        """Publish a version.

        Raises:
            NotFoundError: no such model.
            InvalidInputError: the artifact is not of its format, or a name or the manifest is malformed.
            DataLossError: a chunk is missing or damaged.
            ExhaustedError: a disk is full.
            AlreadyExistsError: that version has other content, or an alias has its name. Equal content is no error.
        """
        if draft.version:
            check_name("version", draft.version)
        check_resources(draft.resources)
        check_manifest(draft.manifest)
        check_format(draft.format)
        await self._catalogue.check_model(draft.model)
        await check_chunks(self._store, draft.manifest)
        version = Version(
            model=draft.model,
            version=draft.version,
            format=draft.format,
            signature=await self._signature(draft),
            resources=draft.resources,
            manifest_digest=await save_manifest(self._store, draft.manifest),
            size_bytes=draft.manifest.size_bytes,
            labels=draft.labels,
            description=draft.description,
            tenant=draft.tenant,
            create_time_s=time.time(),
        )
        return await self._catalogue.publish(version)

    async def _signature(self, draft: Draft) -> Signature:
        with tempfile.TemporaryDirectory(dir=self._store.scratch_directory) as scratch:
            await lay_out(self._store, draft.manifest, Path(scratch), partial(looked_at, draft.format))
            return await self._inspector.signature(draft.format, Path(scratch))


def check_resources(resources: Resources) -> None:
    """Raise InvalidInputError unless every need is a finite number, 0 or more."""
    for name, value in dataclasses.asdict(resources).items():
        if not (math.isfinite(value) and value >= 0):
            raise InvalidInputError(f"resources: {name}: expected a number, 0 or more, got {value}")
