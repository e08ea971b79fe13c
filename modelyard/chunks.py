"""The file side of artifacts: files as chunks with their sha256, and chunks as files.

Everything here blocks; none of it holds more than one chunk in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelyard.catalogue import CHUNK_SIZE_BYTES, File, Manifest
from modelyard.errors import DataLossError, InvalidInputError
from modelyard.pickled import CONVERSION, looks_pickled

RECIPE = "recipe.json"
"""The file at the top of a safetensors artifact that declares its signature."""

_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Chunk:
    """Where a chunk stands: the chunk with this index of this file, and its bytes."""

    file: File
    index: int
    size_bytes: int

    @property
    def digest(self) -> str:
        """Its sha256 in hex."""
        return self.file.chunks[self.index]


def root_of(path: Path) -> Path:
    """The directory that the paths of `scan(path)` are relative to."""
    return path if path.is_dir() else path.parent


def scan(path: Path, progress: Callable[[int], None] = lambda _: None) -> Manifest:
    """Return the manifest of a file, or of all files below a directory, sorted by path.

    Args:
        path: a regular file or a directory. Directories without files leave no trace.
        progress: called with the bytes read since its last call.

    Raises:
        InvalidInputError: there is nothing at the path, or a symbolic link, device, pipe or socket is in it.
    """
    root = root_of(path)
    return Manifest(tuple(_scan_file(root, found, progress) for found in find_files(path)))


def encoded(manifest: Manifest) -> bytes:
    """Return a manifest as the registry keeps it, which is a chunk: JSON, its files sorted by path."""
    files = sorted(manifest.files, key=lambda file: file.path)
    said = [{"path": file.path, "size_bytes": file.size_bytes, "chunks": file.chunks} for file in files]
    document = {"files": said, "chunk_size_bytes": manifest.chunk_size_bytes}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def find_files(path: Path) -> list[Path]:
    """Return the regular files at or below a path, sorted.

    Raises:
        InvalidInputError: as `scan`.
    """
    found = list(_walk(path))
    root = root_of(path)
    return sorted(found, key=lambda file: file.relative_to(root).as_posix())


def _walk(path: Path) -> Iterator[Path]:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        raise InvalidInputError(f"{path}: expected a file or directory, found nothing") from None
    if stat.S_ISDIR(mode):
        for entry in path.iterdir():
            yield from _walk(entry)
    elif stat.S_ISREG(mode):
        yield path
    else:
        kind = "a symbolic link" if stat.S_ISLNK(mode) else "something else"
        raise InvalidInputError(f"{path}: expected regular files and directories, found {kind}")


def _scan_file(root: Path, path: Path, progress: Callable[[int], None]) -> File:
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidInputError(f"{name!r}: expected a file name in UTF-8") from None
    with path.open("rb", buffering=0) as file:
        return hashed(name, file.read, progress)


def hashed(name: str, read: Callable[[int], bytes], progress: Callable[[int], None] = lambda _: None) -> File:
    """Return what a manifest says of a file, which is read to its end in blocks."""
    digests: list[str] = []
    size_bytes = 0
    while count := _hash_chunk(read, digests, progress):
        size_bytes += count
    return File(name, size_bytes, tuple(digests))


def _hash_chunk(read: Callable[[int], bytes], digests: list[str], progress: Callable[[int], None]) -> int:
    """Hash up to one chunk, append its digest, return its bytes: 0 at the end of the file."""
    digest = hashlib.sha256()
    count = 0
    while count < CHUNK_SIZE_BYTES and (block := read(min(_BLOCK_BYTES, CHUNK_SIZE_BYTES - count))):
        digest.update(block)
        count += len(block)
        progress(len(block))
    if count:
        digests.append(digest.hexdigest())
    return count


def chunks_of(file: File, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> list[Chunk]:
    """Return the chunks of a file in order."""
    return [
        Chunk(file, index, min(chunk_size_bytes, file.size_bytes - index * chunk_size_bytes))
        for index in range(len(file.chunks))
    ]


def distinct_chunks(manifest: Manifest) -> dict[str, Chunk]:
    """Return the first place of every distinct chunk, by digest, in the order of the files."""
    places: dict[str, Chunk] = {}
    for file in manifest.files:
        for chunk in chunks_of(file, manifest.chunk_size_bytes):
            places.setdefault(chunk.digest, chunk)
    return places


def read_chunk(root: Path, chunk: Chunk, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> bytes:
    """Return the bytes of a chunk.

    Raises:
        DataLossError: the file has changed since it was scanned, or is gone.
    """
    path = root / PurePosixPath(chunk.file.path)
    try:
        with path.open("rb") as file:
            file.seek(chunk.index * chunk_size_bytes)
            data = file.read(chunk.size_bytes)
    except FileNotFoundError:
        raise DataLossError(f"{path}: was removed while it was being read") from None
    if hashlib.sha256(data).hexdigest() != chunk.digest:
        raise DataLossError(f"{path}: changed while it was being read")
    return data


def target_path(directory: Path, path: str) -> Path:
    """Return where a manifest's file belongs below a directory.

    Raises:
        DataLossError: the path is absolute, empty or leads out of the directory.
    """
    if "\0" in path or "\\" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise DataLossError(f"manifest: expected a relative path without '..', got {path!r}")
    return directory / PurePosixPath(path)


def count_whole_chunks(path: Path, file: File, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> int:
    """Return how many chunks of `file`, from its beginning, stand at `path`; 0 if nothing is there."""
    if not path.is_file():
        return 0
    with path.open("rb", buffering=0) as found:
        for chunk in chunks_of(file, chunk_size_bytes):
            if _digest(found.read, chunk.size_bytes) != chunk.digest:
                return chunk.index
    return len(file.chunks)


def _digest(read: Callable[[int], bytes], size_bytes: int) -> str:
    digest = hashlib.sha256()
    while size_bytes and (block := read(min(_BLOCK_BYTES, size_bytes))):
        digest.update(block)
        size_bytes -= len(block)
    return digest.hexdigest()


def is_whole(path: Path, file: File, chunk_size_bytes: int = CHUNK_SIZE_BYTES) -> bool:
    """Whether `path` holds exactly `file`."""
    if not path.is_file() or os.path.getsize(path) != file.size_bytes:
        return False
    return count_whole_chunks(path, file, chunk_size_bytes) == len(file.chunks)


def guess_format(manifest: Manifest) -> str:
    """Name the format of an artifact by the names of its files.

    Returns:
        `onnx` for one .onnx file, `torch_export` for one .pt2 file, `safetensors` for .safetensors files and a
        recipe.json; other files may be there too. Of several formats that one counts whose files are not in a
        subdirectory.

    Raises:
        InvalidInputError: it is no known format; of files that look like pickles it says how to convert them.
    """
    paths = [file.path for file in manifest.files]
    files = {name: [path for path in paths if path.endswith(suffix)] for name, suffix in _SUFFIXES.items()}
    found = [name for name in files if any("/" not in path for path in files[name])]
    found = found or [name for name in files if files[name]]
    if found == ["safetensors"] and RECIPE not in paths:
        raise InvalidInputError(
            f"artifact: expected a {RECIPE} beside {files['safetensors'][0]}, which declares its signature"
        )
    if len(found) == 1 and (len(files[found[0]]) == 1 or found == ["safetensors"]):
        return found[0]
    pickles = [path for path in paths if looks_pickled(path)]
    if pickles and not found:
        raise InvalidInputError(
            f"artifact: {pickles[0]} looks like a pickle, which runs code when it is read; {CONVERSION}"
        )
    shown = ", ".join([path for name in found for path in files[name]][:5] or paths[:5]) or "no file"
    raise InvalidInputError(
        f"artifact: expected one .onnx file, one .pt2 file, or .safetensors files and a {RECIPE}; found {shown}"
    )
