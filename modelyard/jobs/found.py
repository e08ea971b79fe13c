"""What planning has found about a job's dataset, for all that read it later. Plain values, part of the job's record."""

from __future__ import annotations

from dataclasses import dataclass

from modelyard.datasets.columns import Column


@dataclass(frozen=True)
class Stored:
    """Bytes in the artifact store: a file without a manifest.

    Attributes:
        size_bytes: of all of them.
        chunks: sha256 of each chunk of 8 MiB, in order.
    """

    size_bytes: int
    chunks: tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """A dataset that was opened, counted and bound to the model's inputs.

    Attributes:
        rows: of the dataset.
        results: the columns of results, the key's first where one is written: what files of no rows have, too.
        index: of CSV and JSONL, where its blocks begin (datasets.blocks.TextIndex as JSON), so that nobody passes over
            the whole file again; None: of other kinds.
        stamp: of a URL, what tells whether it still is the same file (size, and etag or time of change); empty: of
            artifacts.
    """

    rows: int
    results: tuple[Column, ...]
    index: Stored | None = None
    stamp: str = ""
