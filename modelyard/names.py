"""What models, versions, aliases, labels and tenants may be called."""

from __future__ import annotations

import re
from typing import NamedTuple

from modelyard.errors import InvalidInputError

MAX_LENGTH = 120
"""Two of them, with what stands between and after, are the name of a file."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def check_name(kind: str, name: str) -> str:
    """Return the name, or raise InvalidInputError: letters, digits, '.', '_' and '-', at most 120 characters."""
    if not name:
        raise InvalidInputError(f"{kind} name: expected 1 to {MAX_LENGTH} characters, got an empty string")
    if len(name) > MAX_LENGTH:
        raise InvalidInputError(f"{kind} name: expected at most {MAX_LENGTH} characters, got {len(name)}")
    if not _NAME.match(name):
        raise InvalidInputError(
            f"{kind} name {name!r}: expected letters, digits, '.', '_' and '-', beginning with a letter or digit"
        )
    return name


class ModelVersion(NamedTuple):
    """One version of one model, written `model@version`."""

    model: str
    version: str

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


def parse_reference(reference: str) -> ModelVersion:
    """Read `NAME`, `NAME@VERSION` or `NAME@ALIAS`; the version is empty where none is given."""
    model, _, version = reference.partition("@")
    check_name("model", model)
    if "@" in reference:
        check_name("version", version)
    return ModelVersion(model, version)
