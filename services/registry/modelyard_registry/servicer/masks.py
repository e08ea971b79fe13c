"""Field masks: which fields of a message are to be changed (google.protobuf.FieldMask, AIP-134)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from modelyard.errors import InvalidInputError


def changes(message: Any, paths: Sequence[str], allowed: Collection[str]) -> dict[str, Any]:
    """Return the values of the fields that a mask names; maps as dicts.

    Args:
        message: that has the new values.
        paths: of the mask; where there are none, the fields that are set; "*": all that are allowed.
        allowed: the names of the fields that can be changed.

    Raises:
        InvalidInputError: the mask names another field, or there is nothing to change.
    """
    named = set(paths) or {field.name for field, _ in message.ListFields()} & set(allowed)
    if unknown := sorted(named - {*allowed, "*"}):
        raise InvalidInputError(
            f"update_mask: expected of {', '.join(sorted(allowed))}, got {', '.join(map(repr, unknown))}"
        )
    if not named:
        raise InvalidInputError(f"update_mask: expected at least one of {', '.join(sorted(allowed))}, got none")
    return {name: _plain(getattr(message, name)) for name in (allowed if "*" in named else named)}


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value
