"""The catalogue in memory, from which Search is served.

It is fed with the changes of the keys below models/ (modelyard.keys) in any order: a version or an alias may come
before its model. What it finds are versions, each with its model, as soon as both records are there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection
from dataclasses import dataclass

from modelyard.catalogue import Model, Version
from modelyard.errors import InvalidInputError
from modelyard_registry.search.entry import Entry
from modelyard_registry.search.families import Family, Record, address
from modelyard_registry.search.filters import Filter, Narrowing, compile_filter
from modelyard_registry.search.orders import Key, Order, Pages, by_age, parse_order
from modelyard_registry.search.postings import Postings
from modelyard_registry.search.table import Table

FEW = 500
"""So many candidates are asked one by one; instead of more, all entries are asked at once."""


@dataclass(frozen=True)
class Page:
    """What was found: versions with their models, whose aliases and newest version are filled in.

    The token is empty on the last page.
    """

    results: tuple[tuple[Model, Version], ...]
    next_page_token: str


class Index:
    """Versions by conditions. Not for several threads at a time."""

    def __init__(self) -> None:
        self._families: dict[str, Family] = {}
        self._postings = Postings()
        self._table = Table()

    def __len__(self) -> int:
        """How many versions there are to be found."""
        return len(self._table)

    @property
    def models(self) -> int:
        """How many models there are, those without a version among them."""
        return len(self._families)

    def apply(self, key: str, value: Record | None) -> None:
        """Take in what a key now holds, None if it is deleted. Keys of other things are passed over."""
        place = address(key)
        if place is None:
            return
        family = self._families.setdefault(place.model, Family())
        for version in dict.fromkeys(family.delete(place) if value is None else family.put(value)):
            old, new = family.entries.pop(version, None), family.join(version)
            if old:
                self._postings.remove(old)
                self._table.remove(old)
            if new:
                family.entries[version] = new
                self._postings.add(new)
                self._table.add(new)
        if not family:
            del self._families[place.model]

    def search(self, filter_text: str, order_by: str, page_size: int, page_token: str) -> Page:
        """Return a page of the versions that match.

        Args:
            filter_text: the condition, in the language of docs/filters.md.
            order_by: fields separated by commas, each perhaps with " desc"; empty: by model and age, newest first.
            page_size: how many at most, 1 or more.
            page_token: of the page before, from the same filter and order; empty: the first page.

        Raises:
            InvalidInputError: one of these is not as described.
        """
        if page_size < 1:
            raise InvalidInputError(f"page_size: expected 1 or more, got {page_size}")
        wanted, order = compile_filter(filter_text), parse_order(order_by)
        pages = Pages(filter_text, order)
        after = pages.after(page_token) if page_token else None
        found = self._found(wanted, order, after, page_size + 1)
        token = pages.token(found[page_size - 1]) if len(found) > page_size else ""
        return Page(self._results(found[:page_size]), token)

    def _results(self, entries: list[Entry]) -> tuple[tuple[Model, Version], ...]:
        models: dict[str, Model] = {}
        for entry in entries:
            if entry.model.name not in models:
                models[entry.model.name] = self._families[entry.model.name].complete(entry.model)
        return tuple((models[entry.model.name], entry.version) for entry in entries)

    def _found(self, wanted: Filter, order: Order, after: Key | None, limit: int) -> list[Entry]:
        candidates = self._candidates(wanted.narrowing)
        if candidates is None or len(candidates) > FEW:
            return self._table.select(wanted.predicate, order, after, limit)
        rows = order.arrange(by_age(filter(wanted.matches, candidates)))
        start = bisect_right(rows, after, key=order.entry_key) if after else 0
        return rows[start : start + limit]

    def _candidates(self, narrowing: Narrowing) -> Collection[Entry] | None:
        found = self._postings.candidates(narrowing)
        if found is None and narrowing.name_prefix:
            return self._table.beginning_with(narrowing.name_prefix, FEW)
        return found
