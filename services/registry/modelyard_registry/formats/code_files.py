"""Files that are code: weights need none, and whoever finds some beside them may run it."""

from __future__ import annotations

import re
from pathlib import Path

from modelyard.errors import InvalidInputError
from modelyard.pickled import CONVERSION

_NAME = re.compile(
    r".+\.(py[cdowi]?|ipynb|whl|egg|jar|so(\.\d+)*|dll|dylib|exe|sh|bash|bat|cmd|ps1)", re.IGNORECASE | re.DOTALL
)
_HEADS = {
    b"\x7fELF": "a program or library",
    b"\xcf\xfa\xed\xfe": "a program or library",
    b"\xca\xfe\xba\xbe": "a program or library",
    b"#!": "a script",
}


def refuse_code(directory: Path) -> None:
    """Raise InvalidInputError, which says how to do without, if a file below the directory is code."""
    for path in sorted(p for p in directory.rglob("*") if p.is_file()):
        kind = describe_code(path)
        if kind:
            name = path.relative_to(directory).as_posix()
            raise InvalidInputError(
                f"{name}: expected weights and what describes them, got {kind}; leave it out, or {CONVERSION}"
            )


def describe_code(path: Path) -> str | None:
    """Say what kind of code a file is, by its name or its first bytes; None if it is none."""
    if _NAME.fullmatch(path.name):
        return "code"
    with path.open("rb") as file:
        head = file.read(4)
    return next((kind for start, kind in _HEADS.items() if head.startswith(start)), None)
