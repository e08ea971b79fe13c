"""The facets and quantities of many entries, by slot."""

from __future__ import annotations

import math
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

from modelyard_registry.entry import Entry
from modelyard_registry.predicates import Facet, Mask, Quantity, Slots, Tests

_ROOM = 1024


class Values:
    """A column of a facet: each distinct value once, and which of them every slot has."""

    def __init__(self, facet: Facet) -> None:
        self._read = facet.read
        self._codes: dict[Hashable, int] = {}
        self._values: list[Hashable] = []
        self._slots = np.zeros(_ROOM, np.int32)

    def set(self, slot: int, entry: Entry) -> None:
        """Note the value of the entry in a slot."""
        value = self._read(entry)
        code = self._codes.setdefault(value, len(self._values))
        if code == len(self._values):
            self._values.append(value)
        while slot >= len(self._slots):
            self._slots = np.concatenate((self._slots, self._slots))
        self._slots[slot] = code

    def ask(self, tests: Tests, slots: Slots) -> Mask:
        """Test the values in these slots, each value once."""
        codes = self._slots[slots]
        answers = np.zeros(len(self._values), np.bool_)
        answers[codes] = True
        asked = np.flatnonzero(answers)
        values = [self._values[code] for code in asked.tolist()]
        answers[asked] = np.fromiter(tests(values), np.bool_, len(asked))
        return answers[codes]

    def stale(self, entries: int) -> bool:
        """Whether most values are such that no entry has any more, if there are so many entries."""
        return len(self._values) > 2 * entries + _ROOM


class Numbers:
    """A column of a quantity; NaN stands for None."""

    def __init__(self, quantity: Quantity) -> None:
        self._read = quantity.read
        self._slots = np.zeros(_ROOM)

    def set(self, slot: int, entry: Entry) -> None:
        """Note the number of the entry in a slot."""
        number = self._read(entry)
        while slot >= len(self._slots):
            self._slots = np.concatenate((self._slots, self._slots))
        self._slots[slot] = math.nan if number is None else number

    def at(self, slots: Slots) -> npt.NDArray[np.float64]:
        """The numbers in these slots."""
        return self._slots[slots]
