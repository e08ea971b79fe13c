"""Streams and turns of the queue in memory."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from operator import itemgetter


@dataclass
class Entry:
    """One entry of a stream: `number` orders it, `token` is empty while nobody has claimed it."""

    number: int
    job: str
    task: str
    at_s: float
    token: str = ""
    extended_s: float = 0.0
    returned: bool = False

    @property
    def id(self) -> str:
        """As a stream's."""
        return f"{self.number}-0"

    @property
    def owner(self) -> str:
        """The worker that has claimed it."""
        return self.token.partition("/")[0]


@dataclass
class Lane:
    """A stream: the entries of one model, tenant and priority."""

    entries: dict[int, Entry] = field(default_factory=dict)

    def ready(self) -> list[Entry]:
        """What can be fetched, in order: what was given back first."""
        free = [entry for entry in self.entries.values() if not entry.token]
        return sorted(free, key=lambda entry: (not entry.returned, entry.number))


class Turns:
    """The tenants of one model: whose turn it is."""

    def __init__(self, weights: dict[str, float]) -> None:
        self.lanes: dict[tuple[str, int], Lane] = defaultdict(Lane)
        self._weights = weights
        self._scores: dict[str, float] = {}
        self._served: dict[str, float] = {}
        self._now = 0.0

    def __bool__(self) -> bool:
        """Whether there is anything to fetch."""
        return bool(self._scores)

    def update(self, tenant: str) -> None:
        """Let a tenant in that has something to fetch, and out one that has nothing."""
        if not self.ready(tenant):
            self.leave(tenant)
        elif tenant not in self._scores:
            self._scores[tenant] = max(self._now, self._served.get(tenant, 0.0))

    def leave(self, tenant: str) -> None:
        """Let a tenant out."""
        if (score := self._scores.pop(tenant, None)) is not None:
            self._served[tenant] = score
        if not self._scores:
            self._served.clear()
            self._now = 0.0

    def next(self, passed: Collection[str]) -> str | None:
        """The tenant that comes next, apart from some; None if there is none."""
        left = [(score, tenant) for tenant, score in self._scores.items() if tenant not in passed]
        return min(left)[1] if left else None

    def ready(self, tenant: str) -> list[Lane]:
        """What a tenant has to fetch, the most urgent first."""
        lanes = sorted(self.lanes.items(), key=itemgetter(0))
        return [lane for (whose, _), lane in lanes if whose == tenant and lane.ready()]

    def charge(self, tenant: str, cost: float) -> None:
        """Count what a tenant is served."""
        self._now = self._scores[tenant]
        self._scores[tenant] += cost / self._weights.get(tenant, 1.0)
