"""Names of models where no version is meant."""

from __future__ import annotations

from modelyard.errors import InvalidInputError
from modelyard.names import parse_reference


def model_of(name: str) -> str:
    """Return the name of a model, or raise InvalidInputError: it is malformed, or names a version too."""
    reference = parse_reference(name)
    if reference.version:
        raise InvalidInputError(f"name: expected a model, got the version {name!r}")
    return reference.model
