"""The formats of artifacts, and how much of their files their readers look at."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from modelyard.catalogue import File
from modelyard.chunks import RECIPE
from modelyard.errors import InvalidInputError
from modelyard.preprocessing.files import LOOKED_AT

ALLOW_UNSAFE = "--allow-unsafe"
"""The option that has artifacts accepted which hold pickles or custom code."""

HEAD_BYTES = 1 << 20
"""So much is looked at of files that no format knows."""

MAX_HEADER_BYTES = 32 << 20
"""The longest header of a .safetensors file."""

MAX_ONNX_BYTES = (2 << 30) - 1
"""The longest .onnx file, as protobuf has it; external data is beside it."""

MAX_RECIPE_BYTES = 1 << 20

_ALL = sys.maxsize

FORMATS = {
    "onnx": {".onnx": MAX_ONNX_BYTES},
    "torch_export": {".pt2": _ALL},
    "safetensors": {".safetensors": 8 + MAX_HEADER_BYTES, RECIPE: MAX_RECIPE_BYTES},
}
"""Every format with the suffixes of the files that describe the model, and the bytes that are read of each of these."""


def check_format(name: str) -> None:
    """Raise InvalidInputError unless there is a format of that name."""
    if name not in FORMATS:
        raise InvalidInputError(f"format: expected one of {', '.join(FORMATS)}; got {name[:64]!r}")


def check_sizes(name: str, files: Iterable[File]) -> None:
    """Raise InvalidInputError if a file is larger than it can be in an artifact of that format."""
    for file in files:
        if name == "onnx" and file.path.endswith(".onnx") and file.size_bytes > MAX_ONNX_BYTES:
            raise InvalidInputError(
                f"{file.path}: expected at most {MAX_ONNX_BYTES} bytes, as protobuf allows, got {file.size_bytes}; "
                "save the weights as external data"
            )


def only_file(name: str, suffix: str, directory: Path) -> Path:
    """The one file with that suffix of an artifact of that format; raise InvalidInputError if there is not just one."""
    found = sorted(directory.rglob(f"*{suffix}"))
    if len(found) != 1:
        names = ", ".join(str(f.relative_to(directory)) for f in found[:5]) or "none"
        raise InvalidInputError(f"format {name}: expected exactly one {suffix} file, got {names}")
    return found[0]


def looked_at(name: str, path: str) -> int:
    """How many bytes, from its beginning, of a file are looked at to check an artifact of that format."""
    if path in LOOKED_AT:
        return LOOKED_AT[path]
    return next((size for suffix, size in FORMATS[name].items() if path.endswith(suffix)), HEAD_BYTES)
