"""Where a job's rows come from: what is here is uploaded as an artifact, the rest is only named."""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from modelyard import chunks
from modelyard.catalogue import CHUNK_SIZE_BYTES, Manifest
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset_validation import MOST_INLINE_BYTES
from modelyard.jobs.spec import Artifact, Dataset
from modelyard.names import ModelVersion
from modelyard.results import Array
from modelyard.sdk.jobs.options import JobOptions
from modelyard.sdk.jobs.rows import arrays_of, npz, size_bytes, write_npz
from modelyard.sdk.meter import OnProgress
from modelyard.sdk.upload import Upload, scan
from modelyard.sdk.versions import VersionCalls

Rows = str | Path | Artifact | Mapping[str, npt.ArrayLike] | Array | Sequence[Any]
"""What a job can be given: see `JobCalls.submit`."""
DIGEST = "sha256:"


class DatasetCalls(VersionCalls):
    """Datasets on their way to the server."""

    async def dataset(
        self, reference: ModelVersion, rows: Rows, options: JobOptions, progress: OnProgress | None
    ) -> Dataset:
        """Name a dataset to the server, which has it then if it is one of here.

        Raises:
            InvalidInputError: there is no such file, or the rows are none.
            DataLossError: a file changed while it was read.
            UnavailableError, ExhaustedError: the registry could not be reached in time; its store is full.
        """
        said = Dataset(kind=options.kind, images=options.images)
        if isinstance(rows, Artifact):
            return _on(said, artifact=rows)
        if isinstance(rows, str) and rows.startswith(DIGEST):
            digest, _, path = rows.removeprefix(DIGEST).partition("/")
            return _on(said, artifact=Artifact(digest, path))
        if isinstance(rows, str) and "://" in rows:
            return _on(said, url=rows)
        if isinstance(rows, str | Path):
            return _on(said, artifact=await self._upload(rows, progress))
        arrays = arrays_of(await self._by_input(reference, rows))
        if size_bytes(arrays) <= MOST_INLINE_BYTES:
            return Dataset(inline=npz(arrays), kind="npz")
        return Dataset(artifact=await self._upload_rows(arrays, progress), kind="npz")

    async def _by_input(
        self, reference: ModelVersion, rows: Mapping[str, npt.ArrayLike] | Array | Sequence[Any]
    ) -> Mapping[str, npt.ArrayLike]:
        if isinstance(rows, Mapping):
            return rows
        inputs = (await self.version(reference.model, reference.version)).signature.inputs
        if len(inputs) != 1:
            names = ", ".join(spec.name for spec in inputs)
            raise InvalidInputError(f"rows: expected an array for each input of {names}, by name; got one without")
        return {inputs[0].name: rows}

    async def _upload_rows(self, arrays: Mapping[str, Array], progress: OnProgress | None) -> Artifact:
        with tempfile.TemporaryDirectory(prefix="modelyard-rows-") as directory:
            path = Path(directory) / "rows.npz"

            def write() -> None:
                with path.open("wb") as file:
                    write_npz(file, arrays)

            await asyncio.to_thread(write)
            return await self._upload(path, progress)

    async def _upload(self, path: str | Path, progress: OnProgress | None) -> Artifact:
        """Send what the registry lacks of a file or directory, and its manifest, which names it from then on."""
        if path == "":
            raise InvalidInputError("rows: expected a file or a directory, got an empty path")
        path = Path(path)
        manifest = await scan(path, progress)
        upload_id = uuid.uuid4().hex
        with tempfile.TemporaryDirectory(prefix="modelyard-manifest-") as directory:
            own = await asyncio.to_thread(_written, manifest, Path(directory) / "manifest.json")
            await Upload(self._connection, chunks.root_of(path), manifest, progress, upload_id).run()
            await Upload(self._connection, Path(directory), own, None, upload_id).run()
        return Artifact(own.files[0].chunks[0])


def _on(said: Dataset, artifact: Artifact | None = None, url: str = "") -> Dataset:
    return Dataset(artifact=artifact, url=url, kind=said.kind, images=said.images)


def _written(manifest: Manifest, path: Path) -> Manifest:
    """A manifest as a file, which is an artifact of one chunk itself."""
    data = chunks.encoded(manifest)
    if len(data) > CHUNK_SIZE_BYTES:
        raise InvalidInputError(
            f"rows: expected a list of files of at most {CHUNK_SIZE_BYTES} bytes, got {len(data)} for "
            f"{len(manifest.files)} files; gather them in larger ones, or in several jobs"
        )
    path.write_bytes(data)
    return chunks.scan(path)
