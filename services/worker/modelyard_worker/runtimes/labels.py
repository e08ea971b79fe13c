"""The names of a model's classes, which its artifact may bring along."""

from __future__ import annotations

from pathlib import Path

from modelyard.errors import InvalidInputError

LABELS = "labels.txt"
MAX_BYTES = 16 << 20


def read_labels(directory: Path) -> tuple[str, ...]:
    """Return the lines of the artifact's labels.txt: line n names class n, from 0; empty where there is no such file.

    Raises:
        InvalidInputError: it is not text in UTF-8, or larger than 16 MiB.
    """
    path = directory / LABELS
    if not path.is_file():
        return ()
    if path.stat().st_size > MAX_BYTES:
        raise InvalidInputError(f"{LABELS}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{LABELS}: expected text in UTF-8, got {error.reason} at byte {error.start}") from None
    return tuple(text.removesuffix("\n").split("\n")) if text else ()
