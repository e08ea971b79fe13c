"""Parameters of a recipe: its class's annotated attributes, checked as they are given."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from modelyard.errors import InvalidInputError

_SCALARS = (bool, int, float, str)


class _WrongType(Exception):  # noqa: N818 (never leaves this module)
    """The value is not of that type."""


def declared(kind: type) -> dict[str, Any]:
    """Return the type of every parameter of a recipe's class, by name: of its annotated attributes without "_" before.

    Raises:
        InvalidInputError: one has a type that no parameter can have.
    """
    hints = {name: hint for name, hint in typing.get_type_hints(kind).items() if not name.startswith("_")}
    found = {name: hint for name, hint in hints.items() if typing.get_origin(hint) is not typing.ClassVar}
    for name, hint in found.items():
        if not _possible(hint):
            raise InvalidInputError(
                f"{kind.__name__}.{name}: expected bool, int, float, str, Literal, a tuple, list or option of these; "
                f"got {_words(hint)}. What is no parameter begins with _"
            )
    return found


def checked(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters: those given, the defaults of the others.

    Raises:
        InvalidInputError: one is unknown, missing, or of the wrong type; those there are are named.
    """
    known = declared(kind)
    for name in given:
        if name not in known:
            raise InvalidInputError(f"{kind.__name__}: expected parameters among {_named(known)}; got {name!r:.100}")
    return {name: _value(kind, name, hint, given) for name, hint in known.items()}


def from_text(kind: type, texts: Mapping[str, str]) -> dict[str, Any]:
    """Return parameters that were given as text, as in `--set lr=0.1`: JSON, or the text itself.

    Raises:
        InvalidInputError: as `checked`.
    """
    known = declared(kind)
    return checked(kind, {name: _read(known.get(name, str), text) for name, text in texts.items()})


def _value(kind: type, name: str, hint: Any, given: Mapping[str, Any]) -> Any:
    if name not in given:
        if hasattr(kind, name):
            return getattr(kind, name)
        raise InvalidInputError(f"{kind.__name__}: expected a value for {name} ({_words(hint)}), got none")
    try:
        return _fitting(given[name], hint)
    except _WrongType:
        named = _named(declared(kind))
        raise InvalidInputError(
            f"{kind.__name__}.{name}: expected {_words(hint)}, got {given[name]!r:.100}; there are {named}"
        ) from None


def _possible(hint: Any) -> bool:
    if hint in _SCALARS or hint is type(None) or typing.get_origin(hint) is typing.Literal:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType, tuple, list):
        return all(_possible(part) for part in typing.get_args(hint) if part is not Ellipsis)
    return False


def _fitting(value: Any, hint: Any) -> Any:
    """Return the value as that type has it: a whole number as float, a list as tuple."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _any_of(value, parts)
    if origin is typing.Literal and any(value == part and type(value) is type(part) for part in parts):
        return value
    if origin in (tuple, list) and isinstance(value, tuple | list):
        return origin(_items(value, parts))
    if hint is float and type(value) is int:
        return float(value)
    if origin is None and type(value) is hint:
        return value
    raise _WrongType


def _any_of(value: Any, parts: tuple[Any, ...]) -> Any:
    for part in parts:
        try:
            return _fitting(value, part)
        except _WrongType:
            continue
    raise _WrongType


def _items(values: Any, parts: tuple[Any, ...]) -> list[Any]:
    if len(parts) == 1 or parts[-1] is Ellipsis:
        return [_fitting(value, parts[0]) for value in values]
    if len(values) != len(parts):
        raise _WrongType
    return [_fitting(value, part) for value, part in zip(values, parts, strict=True)]


def _read(hint: Any, text: str) -> Any:
    try:
        return _fitting(json.loads(text), hint)
    except (_WrongType, ValueError):
        return text


def _words(hint: Any) -> str:
    return hint.__name__ if hint in _SCALARS else str(hint).replace("typing.", "")


def _named(known: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} ({_words(hint)})" for name, hint in known.items()) or "none"
