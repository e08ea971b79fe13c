"""The leases of a worker's claims: begun anew for all at once, as long as what executes them is known to live."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from modelyard.errors import PASSING
from modelyard.queue import Claim, ClaimQueue

log = logging.getLogger(__name__)

LEASE_S = 15.0
"""What the leader recovers by."""
EXTEND_S = LEASE_S / 3
LOOK_S = 0.5
"""When something was silent it is looked at again so soon: perhaps it was this very process that was stopped."""


class Lease:
    """One claim's.

    Attributes:
        is_executing: whether it depends on what executes it; when that is done it is kept until its end is told.
        is_stale: it is somebody else's by now.
    """

    def __init__(self, claim: Claim, beats: Callable[[], bool]) -> None:
        """`beats`: whether what executes it is known to live."""
        self.claim = claim
        self.is_executing = True
        self.is_stale = False
        self.on_stale: Callable[[], object] = lambda: None
        self._beats = beats

    @property
    def is_due(self) -> bool:
        """Whether the claim is to be kept."""
        return not self.is_executing or self._beats()

    def lose(self) -> None:
        """Take note that it is stale."""
        self.is_stale = True
        self.on_stale()


class Leases:
    """Of all claims of a worker."""

    def __init__(self, worker: str, queue: ClaimQueue, every_s: float) -> None:
        """`every_s`: a third of a lease."""
        self._worker = worker
        self._queue = queue
        self._every_s = every_s
        self._leases: dict[str, Lease] = {}

    @contextlib.contextmanager
    def held(self, lease: Lease) -> Iterator[Lease]:
        """Keep a claim in this scope."""
        self._leases[lease.claim.token] = lease
        try:
            yield lease
        finally:
            self._leases.pop(lease.claim.token, None)

    async def run(self) -> None:
        """Extend, until cancelled."""
        while True:
            all_kept = await self._extend()
            await asyncio.sleep(self._every_s if all_kept else min(LOOK_S, self._every_s))

    async def _extend(self) -> bool:
        """Return whether all could be extended."""
        due = {token: lease for token, lease in self._leases.items() if lease.is_due}
        try:
            stale = await self._queue.extend(self._worker, [lease.claim for lease in due.values()]) if due else []
        except PASSING:
            return False
        except Exception:  # a bug of ours takes jobs, not the worker
            log.exception("unforeseen error")
            return False
        for claim in stale:
            self._leases.pop(claim.token, None)
            due[claim.token].lose()
        return all(lease.is_due for lease in self._leases.values())
