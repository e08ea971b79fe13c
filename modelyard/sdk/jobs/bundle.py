"""The directory of a recipe or a script, as it is sent: what was made by running it stays here."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelyard.config import format_bytes
from modelyard.errors import InvalidInputError

MOST_BYTES = 64 << 20
_MADE = {"__pycache__", "build", "dist", "node_modules", "venv"}


def copy(source: Path, target: Path, entry: str) -> None:
    """Copy the files of a bundle; hidden ones, and what Python and package managers make, are left out.

    Args:
        source: a directory.
        target: where they are copied to.
        entry: module or path of what is run; it must be among them.

    Raises:
        InvalidInputError: there is no such directory, it lacks the entry, or has more than MOST_BYTES.
    """
    if not source.is_dir():
        raise InvalidInputError(f"{source}: expected the directory of a recipe or a script")
    files = [path for path in sorted(source.rglob("*")) if path.is_file() and _is_own(path.relative_to(source))]
    _check_size(source, files)
    _check_entry(source, files, entry)
    for path in files:
        copied = target / path.relative_to(source)
        copied.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copied)


def _is_own(path: Path) -> bool:
    return not any(part.startswith(".") or part in _MADE for part in path.parts)


def _check_size(source: Path, files: list[Path]) -> None:
    sizes = {path: path.stat().st_size for path in files}
    if sum(sizes.values()) > MOST_BYTES:
        largest = max(files, key=lambda path: sizes[path])
        raise InvalidInputError(
            f"{source}: expected code of at most {format_bytes(MOST_BYTES)}, got {format_bytes(sum(sizes.values()))}; "
            f"the largest file is {largest.relative_to(source)}: are these data?"
        )


def _check_entry(source: Path, files: list[Path], entry: str) -> None:
    module = entry.partition(":")[0].replace(".", "/")
    wanted = [entry] if entry.endswith(".py") else [f"{module}.py", f"{module}/__init__.py"]
    if not {source / name for name in wanted} & {*files}:
        raise InvalidInputError(f"{source}: expected {' or '.join(wanted)} for entry {entry!r:.80}; there is none")
