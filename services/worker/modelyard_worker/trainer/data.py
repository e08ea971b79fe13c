"""The data of a job, from the artifact store or a URL, as tables to train on."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.datasets.chunked import open_artifact
from modelyard.datasets.remote import open_url, stamp_of
from modelyard.datasets.source import Directory, Source
from modelyard.errors import InvalidInputError
from modelyard.jobs.dataset import Dataset
from modelyard.jobs.training import TrainingData
from modelyard.rpc.registry import BlockingSource
from modelyard.train.data.balanced import BalancedTable
from modelyard.train.data.opening import TableOptions, open_table
from modelyard.train.data.table import Table


@dataclass(frozen=True)
class Opened:
    """A job's data.

    Attributes:
        validation: None: there are none.
        stamps: by which it is seen whether two ranks have opened the same.
    """

    train: Table
    validation: Table | None
    stamps: str


def open_data(data: TrainingData, seed: int, source: BlockingSource) -> Opened:
    """Open what is trained on and what is measured on. Blocks; not in the source's own loop.

    Raises:
        InvalidInputError: it cannot be read, a column is missing, too few rows are there to hold some out, or there are
            no labels to balance by.
        NotFoundError: nothing is there.
        UnavailableError: nobody answers.
    """
    content = content_of(data.dataset, source)
    options = TableOptions(
        data.dataset.kind,
        features=data.features or None,
        target=data.target or None,
        images=data.dataset.images,
    )
    table = open_table(content, options)
    stamps = [_stamp(data.dataset, content), str(len(table))]
    if data.validation is not None:
        there = content_of(data.validation, source)
        same = TableOptions(data.validation.kind, table.view.features, table.view.target, images=data.validation.images)
        validation = open_table(there, same)
        stamps += [_stamp(data.validation, there), str(len(validation))]
        return Opened(_ordered(table, data), validation, "/".join(stamps))
    if data.held_out:
        train, held_out = table.split((1 - data.held_out, data.held_out), seed)
        return Opened(_ordered(train, data), held_out, "/".join(stamps))
    return Opened(_ordered(table, data), None, "/".join(stamps))


def _ordered(table: Table, data: TrainingData) -> Table:
    return BalancedTable(table) if data.balanced else table


def name_of(dataset: Dataset) -> str:
    """What a version says that it was trained on."""
    return dataset.artifact.manifest_digest if dataset.artifact is not None else dataset.url


def _stamp(dataset: Dataset, content: Source | Directory) -> str:
    return dataset.artifact.manifest_digest[:12] if dataset.artifact is not None else stamp_of(content)


def content_of(dataset: Dataset, source: BlockingSource) -> Source | Directory:
    """Return the file or the files of a dataset.

    Raises:
        InvalidInputError: it has no source, or may not be read, or cannot be.
        NotFoundError: nothing is there.
        UnavailableError: nobody answers.
    """
    if dataset.artifact is not None:
        manifest = source.manifest(dataset.artifact.manifest_digest)
        return open_artifact(manifest, dataset.artifact.path, source.fetch)
    if not dataset.url:
        raise InvalidInputError("dataset: expected an artifact or a URL, got neither")
    # Whether a job may read there was looked at when it was submitted.
    return open_url(dataset.url, [dataset.url])
