"""The digest of a dataset: of what is in it, wherever it lies and whatever it is called."""

from __future__ import annotations

import hashlib

from modelyard.datasets.opening import is_directory
from modelyard.datasets.source import Directory, Source

_READ_BYTES = 1 << 20


def digest(content: Source | Directory) -> str:
    """Return the sha256, in hex, of a file, as sha256sum prints it; or of a directory's files and their paths.

    That of a directory is of the lines `SHA256  PATH` of its files, in the order of their paths.

    Raises:
        ModelyardError: the source's.
    """
    if not is_directory(content):
        return _of_file(content)  # type: ignore[arg-type]
    found = hashlib.sha256()
    for path in content.paths():
        line = f"{_of_file(content.open(path))}  {path}\n"
        found.update(line.encode(errors="surrogateescape"))
    return found.hexdigest()


def _of_file(source: Source) -> str:
    found = hashlib.sha256()
    for begin in range(0, source.size_bytes, _READ_BYTES):
        found.update(source.read(begin, min(_READ_BYTES, source.size_bytes - begin)))
    return found.hexdigest()
