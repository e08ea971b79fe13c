"""Messages from values that a user gave: what a message cannot hold is the user's mistake, and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from google.protobuf.descriptor import FieldDescriptor

from modelyard.errors import InvalidInputError

P = ParamSpec("P")
M = TypeVar("M")
MAX_SHOWN = 80

_EXPECTED = {
    FieldDescriptor.CPPTYPE_INT32: "an integer of at most 32 bits",
    FieldDescriptor.CPPTYPE_INT64: "an integer of at most 64 bits",
    FieldDescriptor.CPPTYPE_DOUBLE: "a number",
    FieldDescriptor.CPPTYPE_FLOAT: "a number",
    FieldDescriptor.CPPTYPE_BOOL: "true or false",
    FieldDescriptor.CPPTYPE_STRING: "text that UTF-8 can encode",
}


def build(message: Callable[P, M], *args: P.args, **fields: P.kwargs) -> M:
    """Return a message with these fields; raise InvalidInputError naming a field that cannot hold its value."""
    try:
        return message(*args, **fields)
    except (TypeError, ValueError, OverflowError):
        for name, value in fields.items():
            _check(message, name, value)
        raise


def _check(message: Any, name: str, value: object) -> None:
    """Raise InvalidInputError if a message cannot hold a value in a field."""
    field = message.DESCRIPTOR.fields_by_name.get(name)
    if field is None or _holds(message, name, value):
        return
    key, worst = next(((k, v) for k, v, part in _parts(value) if not _holds(message, name, part)), (None, value))
    where = name if key is None else f"{name}[{key!a}]"
    raise InvalidInputError(f"{where}: expected {_expected(field)}, got {worst!a:.{MAX_SHOWN}}")


def _holds(message: Any, name: str, value: object) -> bool:
    try:
        message(**{name: value})
    except (TypeError, ValueError, OverflowError):
        return False
    return True


def _parts(value: object) -> Iterable[tuple[object, object, object]]:
    """The entries of a value that has some: the key of each, what it is, and a value with it alone."""
    if isinstance(value, Mapping):
        return [(key, entry, {key: entry}) for key, entry in value.items()]
    if isinstance(value, list | tuple):
        return [(index, entry, [entry]) for index, entry in enumerate(value)]
    return []


def _expected(field: FieldDescriptor) -> str:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        field = kind.fields_by_name["value"]
    return _EXPECTED.get(field.cpp_type, f"what {field.full_name} is")
