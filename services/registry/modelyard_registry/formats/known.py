"""The formats of artifacts, and how much of their files their readers look at."""

from __future__ import annotations

import sys

from modelyard.chunks import RECIPE
from modelyard.errors import InvalidInputError

ALLOW_UNSAFE = "--allow-unsafe"
"""The option that has artifacts accepted which hold pickles or custom code."""

HEAD_BYTES = 1 << 20
"""So much is looked at of files that no format knows."""

MAX_HEADER_BYTES = 32 << 20
"""The longest header of a .safetensors file."""

_ALL = sys.maxsize

FORMATS = {
    "onnx": {".onnx": _ALL},
    "torch_export": {".pt2": _ALL},
    "safetensors": {".safetensors": 8 + MAX_HEADER_BYTES, RECIPE: _ALL},
}
"""Every format with the suffixes of the files that describe the model, and the bytes that are read of each of these."""


def check_format(name: str) -> None:
    """Raise InvalidInputError unless there is a format of that name."""
    if name not in FORMATS:
        raise InvalidInputError(f"format: expected one of {', '.join(FORMATS)}; got {name[:64]!r}")


def looked_at(name: str, path: str) -> int:
    """How many bytes, from its beginning, of a file are looked at to check an artifact of that format."""
    return next((size for suffix, size in FORMATS[name].items() if path.endswith(suffix)), HEAD_BYTES)
