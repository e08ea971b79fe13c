"""A mirror of keys."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Generic, TypeVar

from modelyard import codec
from modelyard.etcd.messages import Change, Listing
from modelyard.etcd.watch import Watches

T = TypeVar("T")


class Mirror(Generic[T]):
    """The keys below a prefix, kept equal to etcd's; while etcd is away, the last known.

    `on_change` is called, without arguments, after every change: readers look at `items` again, so that a missed or a
    repeated event can do no harm.
    """

    def __init__(self, etcd: Watches, prefix: str, decode: Callable[[bytes], T], on_change: Callable[[], None]) -> None:
        self.items: dict[str, T] = {}
        self.revisions: dict[str, int] = {}
        self.synced = asyncio.Event()
        self._etcd = etcd
        self._prefix = prefix
        self._decode = decode
        self._on_change = on_change

    async def run(self) -> None:
        """Follow etcd until cancelled."""
        async with contextlib.aclosing(self._etcd.follow(self._prefix)) as stream:
            async for event in stream:
                if isinstance(event, Listing):
                    self._replace(event)
                    self.synced.set()
                else:
                    self._apply(event)
                self._on_change()

    def _replace(self, listing: Listing) -> None:
        self.items.clear()
        self.revisions.clear()
        for kv in listing.items.values():
            self._apply(Change(kv.key, kv, kv.mod_revision))

    def _apply(self, change: Change) -> None:
        name = change.key.removeprefix(self._prefix)
        self.items.pop(name, None)
        self.revisions.pop(name, None)
        if change.value is None:
            return
        item = codec.understood(self._decode, change.key, change.value.value)
        if item is not None:
            self.items[name] = item
            self.revisions[name] = change.value.mod_revision
