"""The fields that a filter can name, how each is read from an entry, and what its operators mean."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from modelyard.catalogue import Lifecycle
from modelyard_registry.search.conditions import Comparison, Text, refusal
from modelyard_registry.search.entry import Entry, natural
from modelyard_registry.search.predicates import (
    Bound,
    Containing,
    Either,
    Facet,
    Inverse,
    Leaf,
    Predicate,
    Quantity,
    Test,
)
from modelyard_registry.search.written import equal_to, moment, number, plain, size

_COMPARES: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "=": operator.eq,
    ":": operator.eq,
}
NAME = Facet("name without case", lambda e: e.texts[0])
DESCRIPTIONS = (
    Facet("model's description without case", lambda e: e.texts[1]),
    Facet("version's description without case", lambda e: e.texts[2]),
)


@dataclass(frozen=True)
class TextKind:
    """Values that are texts.

    Attributes:
        operators: those it has, != aside, which is the negation of =.
        test: makes the condition of an operator and a written value; raises InvalidInputError for a bad one.
        key: what values are ordered by; None: they have no order.
    """

    operators: str
    test: Callable[[str, Text], Test]
    key: Callable[[Any], str] | None = None


@dataclass(frozen=True)
class NumberKind:
    """Values that are numbers; `limit` reads a written one and raises InvalidInputError for a bad one."""

    limit: Callable[[Text], float]
    operators: str = "= < <= > >= :"
    key: type[float] = float


@dataclass(frozen=True)
class Field:
    """A field.

    Attributes:
        read: its value, or None where it is absent; a tuple of its values if it has `many`.
        many: whether it has any number of values: a condition holds if it holds for one of them.
        keyed: whether it is one key of a map, and there even if it is empty or zero.
        folded: its texts without case, where they are at hand.
    """

    kind: TextKind | NumberKind
    read: Callable[[Entry], Any]
    many: bool = False
    keyed: bool = False
    folded: tuple[Facet, ...] = ()


def _text_test(operation: str, value: Text) -> Test:
    if operation == "=":
        return equal_to(value)
    text = plain(value)
    if operation == ":":
        part = text.casefold()
        return lambda found: part in found.casefold()
    compare = _COMPARES[operation]
    return lambda found: bool(compare(found, text))


def _natural_test(operation: str, value: Text) -> Test:
    if operation in ("=", ":"):
        return _text_test(operation, value)
    compare, limit = _COMPARES[operation], natural(plain(value))
    return lambda found: bool(compare(natural(found), limit))


def _element_test(operation: str, value: Text) -> Test:
    return equal_to(value)


def _state_test(operation: str, value: Text) -> Test:
    if value.text.upper() not in Lifecycle.__members__:
        raise refusal(value.column, " or ".join(Lifecycle), value.text)
    state = Lifecycle(value.text.upper())
    return lambda found: bool(found == state)


TEXT = TextKind("= < <= > >= :", _text_test, key=str)
NATURAL = TextKind("= < <= > >= :", _natural_test, key=natural)
PROSE = TextKind("= :", _text_test)
ELEMENT = TextKind("= :", _element_test)
KEY = TextKind(":", _element_test)
STATE = TextKind("= :", _state_test, key=str)
NUMBER = NumberKind(number)
SIZE = NumberKind(size)
TIME = NumberKind(moment)

FIELDS = {
    "name": Field(TEXT, lambda e: e.version.model, folded=(NAME,)),
    "version": Field(NATURAL, lambda e: e.version.version),
    "description": Field(PROSE, lambda e: (e.model.description, e.version.description), many=True, folded=DESCRIPTIONS),
    "licence": Field(TEXT, lambda e: e.model.licence),
    "tenant": Field(TEXT, lambda e: e.version.tenant),
    "format": Field(TEXT, lambda e: e.version.format),
    "state": Field(STATE, lambda e: e.state),
    "size_bytes": Field(SIZE, lambda e: e.version.size_bytes),
    "create_time": Field(TIME, lambda e: e.version.create_time_s),
    "update_time": Field(TIME, lambda e: e.version.update_time_s or e.version.create_time_s),
    "alias": Field(ELEMENT, lambda e: e.aliases, many=True),
    "labels": Field(KEY, lambda e: tuple(e.labels), many=True),
    "metrics": Field(KEY, lambda e: tuple(e.version.metrics), many=True),
    "resources.cpu": Field(NUMBER, lambda e: e.version.resources.cpu),
    "resources.memory_bytes": Field(SIZE, lambda e: e.version.resources.memory_bytes),
    "resources.gpu": Field(NUMBER, lambda e: e.version.resources.gpu),
    "lineage.parent_version": Field(NATURAL, lambda e: e.version.lineage.parent_version),
    "lineage.job": Field(TEXT, lambda e: e.version.lineage.job),
    "lineage.dataset": Field(TEXT, lambda e: e.version.lineage.dataset),
}
NAMES = ", ".join([*FIELDS, "labels.KEY", "metrics.KEY"])


def find_field(name: str) -> Field | None:
    """Return a field by its name; None if there is none."""
    head, _, key = name.partition(".")
    if key and head == "labels":
        return Field(NATURAL, lambda e: e.labels.get(key), keyed=True)
    if key and head == "metrics":
        return Field(NUMBER, lambda e: _measured(e.version.metrics.get(key)), keyed=True)
    return FIELDS.get(name)


def _measured(value: float | None) -> float | None:
    """A metric that is no number is absent."""
    return None if value is None or math.isnan(value) else value


def compare(comparison: Comparison) -> Predicate:
    """Return the condition of FIELD OPERATOR VALUE.

    An absent value fulfils no condition but !=, which is the negation of =.

    Raises:
        InvalidInputError: no such field, an operator that it does not have, or a value that it cannot have.
    """
    field = find_field(comparison.field.text)
    if field is None:
        raise refusal(comparison.field.column, f"one of the fields {NAMES}", comparison.field.text)
    operation = comparison.operator.replace("!=", "=")
    if operation not in field.kind.operators.split():
        known = field.kind.operators.replace("= ", "= != ", 1)
        raise refusal(comparison.operator_column, f"one of the operators {known} for this field", comparison.operator)
    holds = _holds(comparison.field.text, field, operation, comparison.value)
    return Inverse(holds) if comparison.operator == "!=" else holds


def _holds(name: str, field: Field, operation: str, value: Text) -> Predicate:
    present = operation == ":" and value.text == "*" and bool(value.wild)
    if isinstance(field.kind, NumberKind):
        quantity = Quantity(name, field.read)
        if present:
            return Bound(quantity, operator.ge, -math.inf) if field.keyed else Bound(quantity, operator.gt, 0.0)
        return Bound(quantity, _COMPARES[operation], field.kind.limit(value))
    if present:
        return Leaf(Facet(name, field.read), _presence(field))
    if operation == ":" and field.folded:
        return contains(value, field.folded)
    return Leaf(Facet(name, field.read), _test(field, field.kind.test(operation, value)))


def contains(value: Text, facets: tuple[Facet, ...]) -> Predicate:
    """The condition that one of some texts without case has this in it, whatever its case."""
    part = plain(value).casefold()
    return Either(tuple(Containing(facet, part) for facet in facets))


def _test(field: Field, test: Test) -> Test:
    if field.many:
        return lambda found: any(map(test, found))
    return (lambda found: found is not None and test(found)) if field.keyed else test


def _presence(field: Field) -> Test:
    if field.keyed:
        return lambda found: found is not None
    return any if field.many else bool
