"""Opening a table of any kind."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from modelyard.datasets.dataset import Dataset
from modelyard.datasets.image_options import ImageOptions
from modelyard.datasets.images import is_image
from modelyard.datasets.opening import IMAGES, KINDS, Opening, is_directory, open_dataset
from modelyard.datasets.source import Directory, Source, local
from modelyard.errors import InvalidInputError
from modelyard.train.data.folders import LABEL, PATH, ImageFolders, Labelled, TextFolders
from modelyard.train.data.rows import MEMORY_BYTES, open_rows
from modelyard.train.data.table import Table, View

TEXTS = "texts"


@dataclass(frozen=True)
class TableOptions:
    """How a table is opened.

    Attributes:
        kind: of `datasets.opening.KINDS`, or "texts"; empty: what the suffix says; of a directory, what is in it.
        features: columns; None: all but the target, and but the path of files.
        target: column; None: the label of files in folders, else none; empty: none.
        classes: how many labels the target has; 0: its range is not looked at.
        folders: which folders of a directory are read; empty: all. Of IMDB: ("neg", "pos").
        images: what is done with every image.
        memory_bytes: how much is held.
    """

    kind: str = ""
    features: tuple[str, ...] | None = None
    target: str | None = None
    classes: int = 0
    folders: tuple[str, ...] = ()
    images: ImageOptions | None = None
    memory_bytes: int = MEMORY_BYTES


def open_table(content: Path | str | Source | Directory, options: TableOptions = TableOptions()) -> Table:
    """Open a file or directory.

    Raises:
        NotFoundError: there is none.
        InvalidInputError: it is not of the kind, a column is missing (those that are there are named), a row is ragged
            (it is named), or there is no feature.
        ModelyardError: the source's.
    """
    found = local(Path(content)) if isinstance(content, Path | str) else content
    dataset = _dataset(found, options)
    labelled = isinstance(dataset, ImageFolders | TextFolders)
    target = options.target if options.target is not None else LABEL * labelled
    features = options.features
    if features is None:
        passed = {target, PATH} if labelled else {target}
        features = tuple(column.name for column in dataset.columns if column.name not in passed)
    if not features:
        raise InvalidInputError(f"{dataset.name}: expected at least one column beside the target {target!r}")
    names = (*features, *[target] * bool(target))
    return Table(open_rows(dataset, names, options.memory_bytes), View(features, target, options.classes))


def _dataset(content: Source | Directory, options: TableOptions) -> Dataset:
    if options.kind and options.kind not in {*KINDS, TEXTS}:
        raise InvalidInputError(f"{content.name}: expected a kind of {', '.join(KINDS)}, {TEXTS}; got {options.kind!r}")
    if not is_directory(content):
        return open_dataset(content, Opening(options.kind))
    kind = options.kind or (IMAGES if any(map(is_image, content.paths())) else TEXTS)
    files = Labelled(content, options.folders)
    if kind == TEXTS:
        return TextFolders(files)
    if kind == IMAGES:
        return ImageFolders(files, options.images)
    raise InvalidInputError(f"{content.name}: expected a file of {kind}, got a directory")
