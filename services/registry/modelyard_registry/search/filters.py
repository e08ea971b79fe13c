"""What a filter means: from its text to a condition on entries, and what an index can use of it.

The language is explained in docs/filters.md, the rules of takes, returns and fits in matching.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from modelyard.catalogue import Lifecycle
from modelyard_registry.search import fields, matching
from modelyard_registry.search.conditions import (
    Call,
    Comparison,
    Condition,
    Conjunction,
    Disjunction,
    Negation,
    Word,
    refusal,
)
from modelyard_registry.search.entry import Entry
from modelyard_registry.search.predicates import Either, Every, Facet, Inverse, Leaf, Predicate
from modelyard_registry.search.syntax import parse

MAX_DEPTH = 32
MAX_CONDITIONS = 64
ACTIVE = Leaf(Facet("state", lambda entry: entry.state), lambda state: state is Lifecycle.ACTIVE)


@dataclass(frozen=True)
class Narrowing:
    """What every entry that matches has, as far as an index knows: "" or None: nothing is known.

    Attributes:
        name: the model's name.
        name_prefix: what the model's name begins with.
        format: the version's format.
        labels: pairs of key and value.
    """

    name: str | None = None
    name_prefix: str = ""
    format: str | None = None
    labels: tuple[tuple[str, str], ...] = ()

    def __and__(self, other: Narrowing) -> Narrowing:
        """What is known where both hold; of two names either will do, as the condition is asked in any case."""
        return Narrowing(
            name=other.name if self.name is None else self.name,
            name_prefix=max(self.name_prefix, other.name_prefix, key=len),
            format=other.format if self.format is None else self.format,
            labels=self.labels + other.labels,
        )


@dataclass(frozen=True)
class Filter:
    """A condition on entries, and what narrows the search for them."""

    predicate: Predicate
    narrowing: Narrowing = Narrowing()

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return self.predicate.matches(entry)


@lru_cache(maxsize=256)
def compile_filter(text: str) -> Filter:
    """Return the condition that a filter states; the empty one matches every version that is not deleted.

    Deleted versions match only a filter that names the field `state`.

    Raises:
        InvalidInputError: it is not of the language; the message names the column, from 1, and what was expected.
    """
    if not text.strip():
        return Filter(ACTIVE)
    condition = parse(text)
    found = _compile(condition, 0)
    leaves = list(_leaves(condition))
    if len(leaves) > MAX_CONDITIONS:
        raise refusal(leaves[MAX_CONDITIONS].column, f"at most {MAX_CONDITIONS} conditions", f"{len(leaves)}")
    if any(isinstance(leaf, Comparison) and leaf.field.text == "state" for leaf in leaves):
        return found
    return Filter(Every((ACTIVE, found.predicate)), found.narrowing)


def _leaves(condition: Condition) -> Iterator[Condition]:
    match condition:
        case Negation():
            yield from _leaves(condition.operand)
        case Conjunction() | Disjunction():
            for operand in condition.operands:
                yield from _leaves(operand)
        case _:
            yield condition


def _compile(condition: Condition, depth: int) -> Filter:
    if depth > MAX_DEPTH:
        raise refusal(condition.column, f"at most {MAX_DEPTH} levels of conditions", "another")
    match condition:
        case Word():
            return Filter(fields.contains(condition.value, (fields.NAME, *fields.DESCRIPTIONS)))
        case Comparison():
            return Filter(fields.compare(condition), _narrowing(condition))
        case Call():
            return Filter(matching.call(condition))
        case Negation():
            return Filter(Inverse(_compile(condition.operand, depth + 1).predicate))
        case Conjunction():
            return _both([_compile(operand, depth + 1) for operand in condition.operands])
        case Disjunction():
            return Filter(Either(tuple(_compile(operand, depth + 1).predicate for operand in condition.operands)))


def _narrowing(comparison: Comparison) -> Narrowing:
    name, value = comparison.field.text, comparison.value
    if comparison.operator != "=":
        return Narrowing()
    if name == "name" and value.wild == (len(value.text) - 1,):
        return Narrowing(name_prefix=value.text[:-1])
    if value.wild:
        return Narrowing()
    if name == "name":
        return Narrowing(name=value.text)
    if name == "format":
        return Narrowing(format=value.text)
    head, _, key = name.partition(".")
    return Narrowing(labels=((key, value.text),)) if head == "labels" and key else Narrowing()


def _both(found: list[Filter]) -> Filter:
    narrowing = Narrowing()
    for one in found:
        narrowing &= one.narrowing
    return Filter(Every(tuple(one.predicate for one in found)), narrowing)
