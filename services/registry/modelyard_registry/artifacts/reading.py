"""Reading a file of a version, or a part of it: which chunks have it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from modelyard.catalogue import Manifest
from modelyard.errors import InvalidInputError, NotFoundError

_SHOWN = 5
"""So many of the files that are there are named to who asks for one that is not."""


@dataclass(frozen=True)
class Slice:
    """The bytes of a chunk from `start` to before `end`."""

    digest: str
    start: int
    end: int


def slices(manifest: Manifest, path: str, offset: int, length: int) -> Iterator[Slice]:
    """What of which chunks makes these bytes of a file, in order; a length of 0: to its end.

    A range that goes on past the end of the file is cut there.

    Raises:
        NotFoundError: there is no such file; the message names some that are there.
        InvalidInputError: the offset is negative or past the end of the file, or the length is negative.
    """
    file = next((f for f in manifest.files if f.path == path), None)
    if file is None:
        raise NotFoundError(f"file {path[:256]!r}: expected one of {_names(manifest)}")
    if not 0 <= offset <= file.size_bytes:
        raise InvalidInputError(f"offset: expected 0 to {file.size_bytes}, the size of {path!r}; got {offset}")
    if length < 0:
        raise InvalidInputError(f"length: expected 0 or more bytes, got {length}")
    end = min(offset + length, file.size_bytes) if length else file.size_bytes
    return _slices(file.chunks, manifest.chunk_size_bytes, offset, end)


def _slices(digests: tuple[str, ...], chunk_bytes: int, offset: int, end: int) -> Iterator[Slice]:
    while offset < end:
        index, start = divmod(offset, chunk_bytes)
        count = min(chunk_bytes - start, end - offset)
        yield Slice(digests[index], start, start + count)
        offset += count


def _names(manifest: Manifest) -> str:
    paths = [file.path for file in manifest.files]
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(repr(path) for path in paths[:_SHOWN]) + more
