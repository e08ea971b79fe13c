"""Conditions on entries, asked of one entry or of many at once.

Many at once: of what can be asked about entries (a facet), most have few values or are numbers. So a table (table.py)
keeps facets in columns, a test is asked once a value, and numbers are compared by numpy.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from modelyard_registry.search.entry import Entry

Mask = npt.NDArray[np.bool_]
Slots = npt.NDArray[np.int32]
"""Numbers of entries in a table."""
Test = Callable[[Any], bool]
"""A condition on one value of a facet."""
Tests = Callable[[list[Any]], Iterable[bool]]
"""The same on many values."""


@dataclass(frozen=True)
class Facet:
    """Something that every entry has one value of; two are equal if their names are."""

    name: str
    read: Callable[[Entry], Hashable] = field(compare=False)


@dataclass(frozen=True)
class Quantity:
    """A number that every entry has, or None; two are equal if their names are."""

    name: str
    read: Callable[[Entry], float | None] = field(compare=False)


class Columns(Protocol):
    """The values of facets and quantities, by slot."""

    def ask(self, facet: Facet, tests: Tests, slots: Slots) -> Mask:
        """Whether the values in these slots pass."""

    def containing(self, facet: Facet, part: str, slots: Slots) -> Mask:
        """Whether the texts in these slots have a part in them."""

    def numbers(self, quantity: Quantity, slots: Slots) -> npt.NDArray[np.float64]:
        """The numbers in these slots, NaN for None."""


class Predicate(Protocol):
    """A condition."""

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many; the same answers."""


@dataclass(frozen=True)
class Leaf:
    """A test of one facet."""

    facet: Facet
    test: Test

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return self.test(self.facet.read(entry))

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many."""
        return columns.ask(self.facet, partial(map, self.test), slots)


@dataclass(frozen=True)
class Containing:
    """That a part is in a facet, which is a text."""

    facet: Facet
    part: str

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return self.part in str(self.facet.read(entry))

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many."""
        return columns.containing(self.facet, self.part, slots)


@dataclass(frozen=True)
class Bound:
    """A comparison of a quantity, as a 64-bit float, with a limit; false where it is None or NaN."""

    quantity: Quantity
    compare: Callable[[Any, Any], Any]
    limit: float

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        number = self.quantity.read(entry)
        return number is not None and bool(self.compare(float(number), self.limit))

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many."""
        answers: Mask = self.compare(columns.numbers(self.quantity, slots), self.limit)
        return answers


@dataclass(frozen=True)
class Inverse:
    """What the operand is not."""

    operand: Predicate

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return not self.operand.matches(entry)

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many."""
        return ~self.operand.mask(columns, slots)


@dataclass(frozen=True)
class Every:
    """All of these."""

    operands: tuple[Predicate, ...]

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return all(operand.matches(entry) for operand in self.operands)

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many: each operand only those that have passed the ones before."""
        answers = np.ones(len(slots), np.bool_)
        for operand in self.operands:
            answers[answers] = operand.mask(columns, slots[answers])
        return answers


@dataclass(frozen=True)
class Either:
    """Any of these."""

    operands: tuple[Predicate, ...]

    def matches(self, entry: Entry) -> bool:
        """Ask one entry."""
        return any(operand.matches(entry) for operand in self.operands)

    def mask(self, columns: Columns, slots: Slots) -> Mask:
        """Ask many: each operand only those that have passed none before."""
        failed = np.ones(len(slots), np.bool_)
        for operand in self.operands:
            failed[failed] = ~operand.mask(columns, slots[failed])
        return ~failed
