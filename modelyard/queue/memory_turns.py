"""Streams and turns of the queue in memory."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field


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
        if not any(lane.ready() for (whose, _), lane in self.lanes.items() if whose == tenant):
            if (score := self._scores.pop(tenant, None)) is not None:
                self._served[tenant] = score
        elif tenant not in self._scores:
            self._scores[tenant] = max(self._now, self._served.get(tenant, 0.0))
        if not self._scores:
            self._served.clear()
            self._now = 0.0

    def next(self) -> tuple[str, int]:
        """The tenant and the priority that come next; there must be one."""
        tenant = min(self._scores, key=lambda name: (self._scores[name], name))
        return tenant, min(
            priority for (whose, priority), lane in self.lanes.items() if whose == tenant and lane.ready()
        )

    def charge(self, tenant: str, cost: float) -> None:
        """Count what a tenant is served."""
        self._now = self._scores[tenant]
        self._scores[tenant] += cost / self._weights.get(tenant, 1.0)
