"""Directories with a folder for each label: images, or texts, as the IMDB reviews lie in pos/*.txt and neg/*.txt."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from modelyard.datasets.columns import Array, Batch, Column
from modelyard.datasets.dataset import Dataset
from modelyard.datasets.image_options import ImageOptions
from modelyard.datasets.images import ImageDataset, is_image
from modelyard.datasets.source import Directory, Source
from modelyard.errors import InvalidInputError

LABEL, PATH, TEXT = "label", "path", "text"
MOST_TEXT_BYTES = 16 << 20
_LABEL, _PATH, _TEXT = (Column(name, "BYTES", text=True) for name in (LABEL, PATH, TEXT))


class Labelled:
    """The files of a directory that are in folders, which are their labels; files beside the folders are passed over.

    Attributes:
        labels: of the files, in the order of their paths.
    """

    def __init__(self, directory: Directory, labels: Sequence[str] = ()) -> None:
        """Take a directory, and of its folders those that are named; all if none is.

        Raises:
            InvalidInputError: a folder that is named is not there.
        """
        self.name = directory.name
        self._directory = directory
        placed = [path for path in directory.paths() if "/" in path]
        folders = {path.partition("/")[0] for path in placed}
        missing = sorted(set(labels) - folders)
        if missing:
            known = ", ".join(map(repr, sorted(folders))) or "none"
            raise InvalidInputError(f"{self.name}: expected folders of {known:.500}; got {missing[0]!r}")
        self._paths = [path for path in placed if not labels or path.partition("/")[0] in labels]

    def paths(self) -> Sequence[str]:
        """As Directory says."""
        return self._paths

    def open(self, path: str) -> Source:
        """As Directory says."""
        return self._directory.open(path)


class ImageFolders(ImageDataset):
    """Images with their labels: pixels, path, and label BYTES."""

    def __init__(self, directory: Labelled, options: ImageOptions | None = None) -> None:
        """List the images.

        Raises:
            InvalidInputError: the options make no sense, or there is no image in a folder.
        """
        super().__init__(directory, options)
        self._labels = [label_of(path) for path in directory.paths() if is_image(path)]
        if not self._labels:
            raise InvalidInputError(f"{self.name}: expected images as LABEL/NAME.png or .jpg, got none")
        self.columns = (*self.columns, _LABEL)

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        batch = super()._batch(begin, end, [column for column in columns if column.name != LABEL])
        if all(column.name != LABEL for column in columns):
            return batch
        found = {**batch.columns, LABEL: _objects([self._labels[row] for row in batch.rows.tolist()])}
        return Batch(batch.rows, found, batch.failed)


class TextFolders(Dataset):
    """Texts with their labels: a row a file that ends in .txt, as text, label and path BYTES."""

    def __init__(self, directory: Labelled) -> None:
        """List the files.

        Raises:
            InvalidInputError: there is none in a folder.
        """
        self._directory = directory
        self._paths = [path for path in directory.paths() if PurePosixPath(path).suffix.lower() == ".txt"]
        if not self._paths:
            raise InvalidInputError(f"{directory.name}: expected texts as LABEL/NAME.txt, got none")
        super().__init__(directory.name, len(self._paths), (_TEXT, _LABEL, _PATH), {})

    def _batch(self, begin: int, end: int, columns: Sequence[Column]) -> Batch:
        paths = dict(zip(range(begin, end), self._paths[begin:end], strict=True))
        found = {LABEL: {row: label_of(path) for row, path in paths.items()}}
        found[PATH] = {row: path.encode(errors="surrogateescape") for row, path in paths.items()}
        failed: dict[int, str] = {}
        if any(column.name == TEXT for column in columns):
            found[TEXT] = {}
            for row, path in paths.items():
                try:
                    found[TEXT][row] = self._read(path)
                except InvalidInputError as error:
                    failed[row] = error.message
        kept = [row for row in paths if row not in failed]
        values = {column.name: _objects([found[column.name][row] for row in kept]) for column in columns}
        return Batch(np.asarray(kept, np.int64), values, failed)

    def _read(self, path: str) -> bytes:
        source = self._directory.open(path)
        if source.size_bytes > MOST_TEXT_BYTES:
            raise InvalidInputError(f"{path}: expected at most {MOST_TEXT_BYTES} bytes, got {source.size_bytes}")
        text = source.read(0, source.size_bytes)
        try:
            text.decode()
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"{path}: expected text in UTF-8: {error.reason} at {error.start}") from error
        return text


def label_of(path: str) -> bytes:
    """The label of a file: its first folder."""
    return path.partition("/")[0].encode(errors="surrogateescape")


def _objects(values: Sequence[bytes]) -> Array:
    found = np.empty(len(values), object)
    found[:] = values
    return found
