"""How long a version's metrics stay after it is gone: long enough for its last calls to be scraped."""

from __future__ import annotations

from collections.abc import Collection

from modelyard.names import ModelVersion

KEEP_S = 300.0


class Retention:
    """Remembers since when versions are gone."""

    def __init__(self, keep_s: float = KEEP_S) -> None:
        self._keep_s = keep_s
        self._gone_since_s: dict[ModelVersion, float] = {}

    def lapsed(
        self, known: Collection[ModelVersion], present: Collection[ModelVersion], now_s: float
    ) -> set[ModelVersion]:
        """Return those of the known that have been gone for as long as they were kept, and forget them."""
        gone = set(known).difference(present)
        self._gone_since_s = {version: self._gone_since_s.get(version, now_s) for version in gone}
        return {version for version, since_s in self._gone_since_s.items() if now_s - since_s >= self._keep_s}
