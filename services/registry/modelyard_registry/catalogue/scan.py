"""Reading all keys below a prefix, however many they are, with a bounded number of them in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from modelyard.etcd import Etcd, KeyValue

PAGE = 256
"""Records are of at most 64 KiB: a page stays below what a message of etcd may hold."""


async def scan(etcd: Etcd, prefix: str) -> AsyncIterator[Sequence[KeyValue]]:
    """Yield every key below the prefix, a page at a time in key order; each page is of a revision of its own."""
    start = prefix
    while page := await etcd.page(prefix, start, PAGE):
        yield page
        if len(page) < PAGE:
            return
        start = page[-1].key + "\0"
