"""The order of what a search finds, and the places in it where pages end."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from modelyard.errors import InvalidInputError
from modelyard_registry.search.entry import Entry, natural
from modelyard_registry.search.fields import FIELDS, find_field

MAX_TERMS = 8
MAX_LENGTH = 1024
Key = tuple[Any, ...]
Value = str | float | None


class Descending:
    """A value that comes before smaller ones."""

    __slots__ = ("value",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and bool(self.value == other.value)

    def __lt__(self, other: Descending) -> bool:
        return bool(other.value < self.value)


class Place(NamedTuple):
    """Where an entry stands: the values that it is ordered by, then what tells it from all others."""

    values: list[Value]
    model: str
    create_time_s: float
    version: str


@dataclass(frozen=True)
class Term:
    """One field of an order; `value`: what an entry is ordered by, None where the field is absent."""

    name: str
    descending: bool
    kind: type[str] | type[float] = field(compare=False)
    value: Callable[[Entry], Value] = field(compare=False)


@dataclass(frozen=True)
class Order:
    """Fields, the first counting most; what is equal in all comes by model name and age, the newest first.

    An entry without a field comes after those that have it, whatever the direction.
    """

    terms: tuple[Term, ...] = ()

    def __str__(self) -> str:
        return ",".join(term.name + " desc" * term.descending for term in self.terms)

    def arrange(self, entries: Sequence[Entry]) -> list[Entry]:
        """Return entries, which come by age (see by_age), in this order."""
        rows = list(entries)
        for term in reversed(self.terms):  # the sort is stable
            values = [term.value(entry) for entry in rows]
            present = [index for index, value in enumerate(values) if value is not None]
            present.sort(key=values.__getitem__, reverse=term.descending)  # type: ignore[arg-type]
            absent = [index for index, value in enumerate(values) if value is None]
            rows = [rows[index] for index in (*present, *absent)]
        return rows

    def place(self, entry: Entry) -> Place:
        """Where an entry stands."""
        version = entry.version
        return Place([term.value(entry) for term in self.terms], version.model, version.create_time_s, version.version)

    def key(self, place: Place) -> Key:
        """What orders places."""
        parts = [_part(term, value) for term, value in zip(self.terms, place.values, strict=True)]
        return (*parts, *_tail(place.model, place.create_time_s, place.version))

    def entry_key(self, entry: Entry) -> Key:
        """What orders entries: the key of their place."""
        parts = [_part(term, term.value(entry)) for term in self.terms]
        return (*parts, *_age_key(entry))


DEFAULT = Order()
"""By model name and age, the newest version first."""


def by_age(entries: Iterable[Entry]) -> list[Entry]:
    """Return entries in the default order."""
    return sorted(entries, key=_age_key)


def _age_key(entry: Entry) -> Key:
    version = entry.version
    return _tail(version.model, version.create_time_s, version.version)


def _tail(model: str, create_time_s: float, version: str) -> Key:
    return model, -create_time_s, Descending(natural(version)), version


def _part(term: Term, value: Value) -> tuple[bool, Any]:
    if value is None:
        return True, ""
    return False, Descending(value) if term.descending else value


@lru_cache(maxsize=256)
def parse_order(text: str) -> Order:
    """Read `FIELD [desc], ...`; raise InvalidInputError naming the part that is not understood."""
    parts = [part.split() for part in text[: MAX_LENGTH + 1].split(",")] if text.strip() else []
    if len(text) > MAX_LENGTH or len(parts) > MAX_TERMS:
        raise InvalidInputError(f"order_by: expected at most {MAX_TERMS} fields in {MAX_LENGTH} characters")
    return Order(tuple(_term(words) for words in parts))


def _term(words: list[str]) -> Term:
    name, *direction = words or [""]
    found = find_field(name)
    if found is None or found.kind.key is None or direction not in ([], ["desc"]):
        raise InvalidInputError(f"order_by: expected one of {ORDERABLE}, perhaps with desc; got {' '.join(words)!r}")
    read, key = found.read, found.kind.key

    def value(entry: Entry) -> Value:
        present = read(entry)
        return None if present is None else key(present)

    return Term(name, bool(direction), float if key is float else str, value)


ORDERABLE = ", ".join([*(name for name, known in FIELDS.items() if known.kind.key), "labels.KEY", "metrics.KEY"])


class Pages:
    """The page tokens of one query. They say after which place to go on, so that changes in between do no harm."""

    def __init__(self, filter_text: str, order: Order) -> None:
        self._order = order
        self._query = hashlib.blake2b(f"{order}\0{filter_text}".encode(), digest_size=12).digest()

    def token(self, last: Entry) -> str:
        """The token of the page after the one that ends with this entry."""
        data = msgspec.msgpack.encode((self._query, self._order.place(last)))
        return base64.urlsafe_b64encode(data).decode()

    def after(self, token: str) -> Key:
        """The key of the last entry before the page; raise InvalidInputError unless it is a token of this query."""
        try:
            data = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
            query, place = msgspec.msgpack.decode(data, type=tuple[bytes, Place])
        except (binascii.Error, msgspec.DecodeError, UnicodeEncodeError):
            raise _foreign() from None
        if query != self._query or not self._fits(place):
            raise _foreign()
        return self._order.key(place)

    def _fits(self, place: Place) -> bool:
        kinds = [term.kind for term in self._order.terms]
        return len(kinds) == len(place.values) and all(
            value is None or isinstance(value, kind) for kind, value in zip(kinds, place.values, strict=True)
        )


def _foreign() -> InvalidInputError:
    return InvalidInputError("page_token: expected the token of an earlier page of the same filter and order")
