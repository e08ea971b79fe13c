"""Which workers that vanished are gone for good. Pure but for a clock that is passed in."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

GRACE_S = 30.0
MASS_SHARE = 0.3


@dataclass
class LostWorkers:
    """Workers that have placements but no key in etcd.

    One whose connections are refused is gone at once. One that just does not answer is given 30 s; and while more than
    30% of all workers are missing without proof, none of those is given up: then it is more likely that we are cut off.
    """

    since_s: dict[str, float] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)

    def observe(self, missing: Collection[str], now_s: float) -> None:
        """Note who is missing now; who is back is forgotten."""
        self.since_s = {w: self.since_s.get(w, now_s) for w in missing}
        self.refused &= set(missing)

    def prove(self, worker: str) -> None:
        """Note that a worker's connections are refused."""
        if worker in self.since_s:
            self.refused.add(worker)

    def lingering(self, live: int, now_s: float) -> set[str]:
        """Those who may come back."""
        unproven = set(self.since_s) - self.refused
        known = live + len(self.since_s)
        if known and len(unproven) > 1 and len(unproven) / known > MASS_SHARE:
            return unproven
        return {w for w in unproven if now_s - self.since_s[w] < GRACE_S}
