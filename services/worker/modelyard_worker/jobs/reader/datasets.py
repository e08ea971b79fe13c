"""Datasets of jobs, opened once for many tasks: a footer, an index and some chunks need not be read each time."""

from __future__ import annotations

from functools import partial

from modelyard import codec
from modelyard.catalogue import File
from modelyard.datasets.blocks import TextIndex
from modelyard.datasets.chunked import ChunkedFile, open_artifact
from modelyard.datasets.mapping import bind
from modelyard.datasets.opening import Opening, open_dataset
from modelyard.datasets.remote import open_url
from modelyard.datasets.source import Directory, Source
from modelyard.errors import InvalidInputError
from modelyard.jobs.found import Found, Stored
from modelyard.jobs.spec import Dataset
from modelyard.rpc.registry import BlockingSource
from modelyard.tasks import to_its_end
from modelyard_worker.jobs.assignment import Begin
from modelyard_worker.jobs.reader.chunks import SharedChunks
from modelyard_worker.jobs.reader.reading import Opened

MOST_IDLE = 2
"""So many are kept open: each has some chunks, or a row group, in memory."""


class Datasets:
    """Opens them, and keeps those that were used last."""

    def __init__(self, source: BlockingSource) -> None:
        self._source = source
        self._chunks = SharedChunks(source.fetch)
        self._idle: list[tuple[str, Opened]] = []

    async def take(self, begin: Begin) -> Opened:
        """The dataset of a job, for this task alone; `give` it back if it can be used on.

        Raises:
            InvalidInputError: it is not what it was when the job was planned.
            ModelyardError: it cannot be read.
        """
        for place, (job, opened) in enumerate(self._idle):
            if job == begin.job:
                del self._idle[place]
                return opened
        return await to_its_end(partial(self._open, begin))

    def give(self, begin: Begin, opened: Opened) -> None:
        """Keep it for the job's next task."""
        self._idle = [*self._idle, (begin.job, opened)][-MOST_IDLE:]

    def _open(self, begin: Begin) -> Opened:
        spec, found = begin.spec, begin.found
        index = self._index(found.index) if found.index else None
        opening = Opening(spec.dataset.kind, spec.dataset.images, index)
        dataset = open_dataset(self._content(spec.dataset, found), opening)
        if dataset.rows != found.rows:
            raise InvalidInputError(f"{dataset.name}: expected {found.rows} rows, as planned; got {dataset.rows}")
        binding = bind(dataset, begin.target.signature, dict(spec.columns), cast=spec.cast, keys=spec.keys)
        return Opened(dataset, binding, spec.sharding.key_column, spec.output.key_column)

    def _content(self, dataset: Dataset, found: Found) -> Source | Directory:
        if dataset.artifact is not None:
            manifest = self._source.manifest(dataset.artifact.manifest_digest)
            return open_artifact(manifest, dataset.artifact.path, self._chunks.fetch)
        # Whether a job may read there was looked at when it was submitted.
        return open_url(dataset.url, [dataset.url], found.stamp)

    def _index(self, stored: Stored) -> TextIndex:
        file = ChunkedFile(File("index", stored.size_bytes, stored.chunks), self._chunks.fetch)
        try:
            return codec.decode(TextIndex, file.read(0, stored.size_bytes))
        except codec.MalformedError as error:
            raise InvalidInputError(f"index of the dataset: expected a TextIndex: {error}") from error
