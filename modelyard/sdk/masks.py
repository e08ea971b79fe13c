"""Which fields an update changes."""

from __future__ import annotations

from google.protobuf.field_mask_pb2 import FieldMask

from modelyard.errors import InvalidInputError


def mask_of(**fields: object) -> FieldMask:
    """The fields that are not None; raise InvalidInputError if there is none."""
    given = [name for name, value in fields.items() if value is not None]
    if not given:
        raise InvalidInputError(f"update: expected something to change of {', '.join(fields)}; got nothing")
    return FieldMask(paths=given)
