"""Files of results that were opened: the ends of all their pieces are read, of what is between them nothing is kept.

To open one takes as many reads as it has pieces. Who reads a file by ranges asks once for each, so a few of those that
nobody reads now stay open, those that were read last, with the chunk that was read last of each.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from modelyard.datasets.source import Source
from modelyard.jobs.job import ResultsHeader

MOST_FILES, MOST_PIECES = 8, 50_000
"""So many stay open, of so many pieces together."""


class FileKey(NamedTuple):
    """Which file: `stamp` is another one when the job's results are."""

    job: str
    stamp: str
    output: str


class Chunks(Protocol):
    """What a file is read from: modelyard_scheduler.jobs.api.pieces.StoredPieces."""

    def rest(self) -> None:
        """Keep no more than the chunk that was read last."""
        ...


class Opened(NamedTuple):
    """A file for one reader at a time.

    Attributes:
        size: how many pieces it has.
    """

    header: ResultsHeader
    source: Source
    chunks: Chunks
    size: int


class Files:
    """Files that nobody reads now."""

    def __init__(self) -> None:
        self._idle: list[tuple[FileKey, Opened]] = []

    def __len__(self) -> int:
        return len(self._idle)

    def take(self, wanted: FileKey) -> Opened | None:
        """A file for a reader, who gives it back; None: it is to be opened."""
        for at, (key, file) in enumerate(self._idle):
            if key == wanted:
                del self._idle[at]
                return file
        return None

    def give_back(self, key: FileKey, file: Opened) -> None:
        """Keep it for the next reader, as long as there is room."""
        file.chunks.rest()
        self._idle.insert(0, (key, file))
        while len(self._idle) > MOST_FILES or sum(one.size for _, one in self._idle) > MOST_PIECES:
            self._idle.pop()
