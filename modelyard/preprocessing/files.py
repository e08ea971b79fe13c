"""Where preprocessing lies in an artifact, and how it is read: as much as is allowed, of exactly the types expected."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from modelyard.errors import InvalidInputError

DIRECTORY = "preprocessing"
"""In an artifact, beside the model."""
PREPROCESSING = "preprocessing.json"
TOKENIZER = "tokenizer.json"
MAX_BYTES = {PREPROCESSING: 16 << 20, TOKENIZER: 64 << 20}
"""The largest files that are read."""
LOOKED_AT = {f"{DIRECTORY}/{name}": size for name, size in MAX_BYTES.items()}
"""The same by their paths in an artifact."""
T = TypeVar("T")


def is_there(artifact: Path) -> bool:
    """Whether an artifact has preprocessing: a directory of that name at its top."""
    return (artifact / DIRECTORY).exists()


def read(directory: Path, name: str) -> bytes:
    """Read a file of MAX_BYTES.

    Raises:
        InvalidInputError: it is missing, too large or cannot be read.
    """
    path, most = directory / name, MAX_BYTES[name]
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise InvalidInputError(f"{DIRECTORY}: expected a file {name}: {error.strerror}") from error
    if len(data) > most:
        raise InvalidInputError(f"{name}: expected at most {most} bytes, got {path.stat().st_size}")
    return data


def decode(name: str, data: bytes | str, kind: type[T]) -> T:
    """Read JSON as a value of a type.

    Raises:
        InvalidInputError: it is no JSON, or not of the type; `name` is the file's.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInputError(f"{name}: {str(error)[:300]}") from error
