"""Opening a dataset of any kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypeGuard

from modelyard.datasets.blocks import TextIndex
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.delimited import CsvDataset
from modelyard.datasets.image_options import ImageOptions
from modelyard.datasets.images import ImageDataset
from modelyard.datasets.jsonl import JsonlDataset
from modelyard.datasets.npy import open_npy
from modelyard.datasets.npz import open_npz
from modelyard.datasets.parquet import ParquetDataset
from modelyard.datasets.source import Directory, Source
from modelyard.errors import InvalidInputError

IMAGES = "images"
SUFFIXES = {
    ".npy": "npy",
    ".npz": "npz",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
KINDS = (*dict.fromkeys(SUFFIXES.values()), IMAGES)


@dataclass(frozen=True)
class Opening:
    """How a dataset is opened.

    Attributes:
        kind: one of KINDS; empty: a directory is of images, a file what its suffix says.
        images: what is done with images.
        index: of a file of text, from when it was opened before; None: one pass over the file makes it.
    """

    kind: str = ""
    images: ImageOptions | None = None
    index: TextIndex | None = None


def open_dataset(content: Source | Directory, opening: Opening = Opening()) -> Dataset:
    """Open what is in a file or directory.

    Raises:
        InvalidInputError: the kind is unknown, or the content is not of that kind, or corrupt.
        ModelyardError: the source's.
    """
    kind = opening.kind or _kind_of(content)
    if kind not in KINDS:
        raise InvalidInputError(f"{content.name}: expected a dataset of {', '.join(KINDS)}; got {kind!r}")
    if is_directory(content):
        if kind != IMAGES:
            raise InvalidInputError(f"{content.name}: expected a file of {kind}, got a directory")
        return ImageDataset(content, opening.images)
    if kind == IMAGES:
        raise InvalidInputError(f"{content.name}: expected a directory of images, got a file")
    openers: dict[str, Callable[[Source], Dataset]] = {
        "npy": open_npy,
        "npz": open_npz,
        "parquet": ParquetDataset,
        "csv": lambda source: CsvDataset(source, opening.index),
        "jsonl": lambda source: JsonlDataset(source, opening.index),
    }
    return openers[kind](content)  # type: ignore[arg-type]


def is_directory(content: Source | Directory) -> TypeGuard[Directory]:
    """Whether it is a directory."""
    return hasattr(content, "paths")


def _kind_of(content: Source | Directory) -> str:
    if is_directory(content):
        return IMAGES
    suffix = PurePosixPath(content.name).suffix.lower()
    if suffix not in SUFFIXES:
        raise InvalidInputError(
            f"{content.name}: expected a kind, or a suffix of {', '.join(SUFFIXES)}; got {suffix or 'none'!r}"
        )
    return SUFFIXES[suffix]
