"""The file that pieces of results are together. Imported when the first results are asked for: it takes Arrow along."""

from __future__ import annotations

import io
from collections.abc import Sequence

from modelyard.datasets.assembly import MemorySource, join_npy, join_parquet
from modelyard.datasets.chunked import Fetch
from modelyard.datasets.columns import Column
from modelyard.datasets.pieces import ParquetPiece, Piece
from modelyard.datasets.source import Source
from modelyard.jobs.tasks import StoredPiece
from modelyard_scheduler.jobs.api.pieces import StoredPieces


def parquet(columns: Sequence[Column], pieces: Sequence[StoredPiece], fetch: Fetch, name: str) -> Source:
    """All columns in one file, of which only the ends of pieces are read yet; without pieces one of no rows.

    Raises:
        DataLossError: a piece is gone or damaged, or they have different columns.
        UnavailableError: the registry is away.
    """
    sources = StoredPieces(pieces, fetch).sources()
    return join_parquet(sources or [MemorySource(_no_rows(columns), name)], name)


def _no_rows(columns: Sequence[Column]) -> bytes:
    out = io.BytesIO()
    ParquetPiece(columns, out).finish()
    return out.getvalue()


def npy(column: Column, pieces: Sequence[StoredPiece], fetch: Fetch, name: str) -> Source:
    """One column; nothing is read yet. InvalidInputError: the pieces' rows differ in shape."""
    sources = StoredPieces(pieces, fetch).sources()
    facts = [Piece(piece.rows, piece.size_bytes, piece.shape) for piece in pieces]
    return join_npy(column, list(zip(facts, sources, strict=True)), name)
