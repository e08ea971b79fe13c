"""The pieces of an attempt: files that nobody else sees, and that are gone with it, until they are stored."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import IO, Self, cast

from modelyard.datasets.columns import Array, Column
from modelyard.datasets.pieces import NpyPiece, ParquetPiece, Piece, PieceWriter
from modelyard.jobs.spec import ResultFormat

IN_MEMORY_BYTES = 16 << 20
"""Longer ones go to a file."""


class Pieces:
    """One Parquet file, or a file for each column; as a scope: they are gone when it ends."""

    def __init__(self, columns: Sequence[Column], written_as: ResultFormat) -> None:
        """`columns` of the results, in order."""
        self._files = ExitStack()
        self._writers: dict[str, tuple[PieceWriter, IO[bytes]]] = {}
        if written_as is ResultFormat.PARQUET:
            out = self._file()
            self._writers[""] = ParquetPiece(columns, out), out
            return
        for column in columns:
            out = self._file()
            self._writers[column.name] = NpyPiece(column, out), out

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Delete the files."""
        self._files.close()

    def _file(self) -> IO[bytes]:
        return cast(IO[bytes], self._files.enter_context(tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)))

    def write(self, columns: Mapping[str, Array]) -> None:
        """Add rows of all columns; blocks.

        Raises:
            InvalidInputError: they are not what was announced.
            OSError: the disk.
        """
        for writer, _ in self._writers.values():
            writer.write(columns)

    def finish(self) -> list[tuple[str, Piece, IO[bytes]]]:
        """Return each file with its output and what it is; blocks."""
        return [(output, writer.finish(), out) for output, (writer, out) in self._writers.items()]
