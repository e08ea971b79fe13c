"""The formats of artifacts."""

from __future__ import annotations

from modelyard.errors import InvalidInputError

FORMATS = {"onnx": ".onnx"}
"""Every format with the suffix of its one file that describes the model; the files beside it hold weights."""


def check_format(name: str) -> str:
    """Return the suffix of the format's describing file, or raise InvalidInputError."""
    if name not in FORMATS:
        raise InvalidInputError(f"format: expected one of {', '.join(FORMATS)}; got {name[:64]!r}")
    return FORMATS[name]
