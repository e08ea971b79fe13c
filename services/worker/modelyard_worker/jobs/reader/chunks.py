"""Chunks that were read last, shared by all who read: where one task ends in a chunk the next one begins in it."""

from __future__ import annotations

import threading
from concurrent.futures import Future

from modelyard.chunks import Chunk
from modelyard.datasets.chunked import Fetch

KEPT = 6
"""Of 8 MiB each."""


class SharedChunks:
    """Fetches each chunk once, as long as it is among those that were wanted last."""

    def __init__(self, fetch: Fetch, kept: int = KEPT) -> None:
        self._fetch = fetch
        self._kept = kept
        self._held: dict[str, Future[bytes]] = {}
        self._lock = threading.Lock()

    def fetch(self, chunk: Chunk) -> Future[bytes]:
        """As datasets.chunked.Fetch says."""
        with self._lock:
            found = self._held.pop(chunk.digest, None)
            if found is None or (found.done() and (found.cancelled() or found.exception() is not None)):
                found = self._fetch(chunk)
            self._held[chunk.digest] = found
            for oldest in list(self._held)[: -self._kept]:
                del self._held[oldest]
        return found
