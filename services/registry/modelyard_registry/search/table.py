"""The entries of an index in numbered slots, their facets in columns, and the orders in which they are looked through.

Columns and orders are made when they are first asked for and kept up to date from then on; those that were not used for
longest give way to others.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from modelyard_registry.search.columns import Numbers, Texts, Values
from modelyard_registry.search.entry import Entry
from modelyard_registry.search.orders import DEFAULT, Key, Order, by_age
from modelyard_registry.search.predicates import Facet, Mask, Predicate, Quantity, Slots, Tests

KEPT_COLUMNS = 32
"""Of each kind."""
KEPT_ORDERS = 8
_FIRST = 1024
"""How many entries are asked before all others, for a page may be found among them."""
_PAST_ALL = chr(0x10FFFF)
K = TypeVar("K")
V = TypeVar("V")
C = TypeVar("C", Values, Texts, Numbers)


class Table:
    """All entries."""

    def __init__(self) -> None:
        self._entries: list[Entry | None] = []
        self._free: list[int] = []
        self._slot_of: dict[Entry, int] = {}
        self._values: dict[Facet, Values] = {}
        self._texts: dict[Facet, Texts] = {}
        self._numbers: dict[Quantity, Numbers] = {}
        self._orders: dict[Order, Slots] = {}

    def __len__(self) -> int:
        return len(self._slot_of)

    def entry(self, slot: int) -> Entry:
        """The entry in a slot; raise LookupError if that is free."""
        entry = self._entries[slot]
        if entry is None:
            raise LookupError(f"slot {slot} is free")
        return entry

    def add(self, entry: Entry) -> None:
        """Take an entry in."""
        slot = self._free.pop() if self._free else len(self._entries)
        self._entries[slot : slot + 1] = [entry]
        self._slot_of[entry] = slot
        self._values = {facet: column for facet, column in self._values.items() if not column.stale(len(self))}
        self._texts = {facet: column for facet, column in self._texts.items() if not column.stale(len(self))}
        columns: list[Values | Numbers] = [*self._values.values(), *self._texts.values(), *self._numbers.values()]
        for column in columns:
            column.set(slot, entry)
        for order, slots in self._orders.items():
            self._orders[order] = np.insert(slots, self._position(order, slots, entry), slot)

    def remove(self, entry: Entry) -> None:
        """Forget an entry."""
        for order, slots in self._orders.items():
            self._orders[order] = np.delete(slots, self._position(order, slots, entry))
        slot = self._slot_of.pop(entry)
        self._entries[slot] = None
        self._free.append(slot)

    def _position(self, order: Order, slots: Slots, entry: Entry) -> int:
        return bisect_left(slots, order.entry_key(entry), key=lambda slot: order.entry_key(self.entry(slot)))

    def ask(self, facet: Facet, tests: Tests, slots: Slots) -> Mask:
        """Whether the values in these slots pass."""
        return _kept(self._values, facet, lambda: self._filled(Values(facet)), KEPT_COLUMNS).ask(tests, slots)

    def containing(self, facet: Facet, part: str, slots: Slots) -> Mask:
        """Whether the texts in these slots have a part in them."""
        return _kept(self._texts, facet, lambda: self._filled(Texts(facet)), KEPT_COLUMNS).containing(part, slots)

    def numbers(self, quantity: Quantity, slots: Slots) -> npt.NDArray[np.float64]:
        """The numbers in these slots, NaN for None."""
        return _kept(self._numbers, quantity, lambda: self._filled(Numbers(quantity)), KEPT_COLUMNS).at(slots)

    def _filled(self, column: C) -> C:
        for entry, slot in self._slot_of.items():
            column.set(slot, entry)
        return column

    def select(self, predicate: Predicate, order: Order, after: Key | None, limit: int) -> list[Entry]:
        """Return the first entries that match, in an order; if a key is given, the first that come after it."""
        found: list[Entry] = []
        slots = self._ordered(order, after)
        for some in (slots[:_FIRST], slots[_FIRST:]):
            if len(found) < limit:
                found += map(self.entry, some[predicate.mask(self, some)][: limit - len(found)].tolist())
        return found

    def beginning_with(self, prefix: str, most: int) -> list[Entry] | None:
        """Return the entries whose model's name begins so; None if they are more than `most`."""
        slots = self._ordered(DEFAULT)
        first, end = (bisect_left(slots, edge, key=self._name) for edge in (prefix, prefix + _PAST_ALL))
        return [self.entry(slot) for slot in slots[first:end]] if end - first <= most else None

    def _name(self, slot: int) -> str:
        return self.entry(slot).version.model

    def _ordered(self, order: Order, after: Key | None = None) -> Slots:
        slots = _kept(self._orders, order, lambda: self._arranged(order), KEPT_ORDERS)
        if after is None:
            return slots
        return slots[bisect_right(slots, after, key=lambda slot: order.entry_key(self.entry(slot))) :]

    def _arranged(self, order: Order) -> Slots:
        if order == DEFAULT:
            entries = by_age(self._slot_of)
        else:
            entries = order.arrange([self.entry(slot) for slot in self._ordered(DEFAULT)])
        return np.array([self._slot_of[entry] for entry in entries], np.int32)


def _kept(kept: dict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """Return what is kept under a key, made now if need be; what was used last stands last."""
    found = kept.pop(key, None)
    kept[key] = make() if found is None else found
    if len(kept) > most:
        del kept[next(iter(kept))]
    return kept[key]
