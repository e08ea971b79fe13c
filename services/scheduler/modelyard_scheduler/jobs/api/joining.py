"""The file that pieces of results are together. Imported when the first results are asked for: it takes Arrow along."""

from __future__ import annotations

import io
from collections.abc import Sequence

from modelyard.datasets.assembly import MemorySource, join_npy, join_parquet
from modelyard.datasets.columns import Column
from modelyard.datasets.pieces import ParquetPiece, Piece
from modelyard.datasets.source import Source
from modelyard_scheduler.jobs.api.pieces import StoredPieces


def parquet(columns: Sequence[Column], pieces: StoredPieces, name: str) -> Source:
    """All columns in one file, of which only the ends of pieces are read yet; without pieces one of no rows.

    Raises:
        DataLossError: a piece is gone or damaged, or they have different columns.
        UnavailableError: the registry is away.
    """
    return join_parquet(pieces.sources() or [MemorySource(_no_rows(columns), name)], name)


def _no_rows(columns: Sequence[Column]) -> bytes:
    out = io.BytesIO()
    ParquetPiece(columns, out).finish()
    return out.getvalue()


def npy(column: Column, pieces: StoredPieces, name: str) -> Source:
    """One column; nothing is read yet. InvalidInputError: the pieces' rows differ in shape."""
    facts = [Piece(piece.rows, piece.size_bytes, piece.shape) for piece in pieces.pieces]
    return join_npy(column, list(zip(facts, pieces.sources(), strict=True)), name)
