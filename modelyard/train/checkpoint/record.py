"""What a checkpoint says of itself, beside its tensors: a file of JSON that is read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from modelyard import codec
from modelyard.datasets.source import Directory
from modelyard.errors import DataLossError, NotFoundError
from modelyard.train.position import Position

RECORD = "checkpoint.json"
FORMAT = 1


@dataclass(frozen=True)
class Record:
    """How far the run was, and all of its state but the tensors.

    Attributes:
        position: of the run.
        structure: of the state, with all that is no tensor (train.checkpoint.structure).
        world: how many ranks have saved it; any number can load it.
        format: of the checkpoint.
    """

    position: Position
    structure: Any
    world: int = 1
    format: int = FORMAT


def encode(record: Record) -> bytes:
    """Return it as JSON. Numbers keep all their bits."""
    return json.dumps(codec.to_json(record), ensure_ascii=False, allow_nan=False).encode()


def read(directory: Directory) -> Record:
    """Return the record of the checkpoint in a directory.

    Raises:
        DataLossError: there is none, or it is not of this format.
        ModelyardError: it cannot be read.
    """
    try:
        source = directory.open(RECORD)
        document = json.loads(source.read(0, source.size_bytes))
        record = msgspec.convert(document, Record)
    except (NotFoundError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise DataLossError(f"checkpoint: {RECORD}: expected a record: {str(error)[:200]}") from error
    if record.format != FORMAT:
        raise DataLossError(f"checkpoint: {RECORD}: expected format {FORMAT}, got {record.format}")
    return record
