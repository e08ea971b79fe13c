"""What a worker measures of tasks: once for each claim, by what became of it."""

from __future__ import annotations

from modelyard.metrics import Journal, families
from modelyard.names import parse_reference
from modelyard.queue import Claim

TENANTS = 100
"""So many have their name in metrics; the tenant is what a client says, so there is no end to them."""


class Usage:
    """Of all claims of a worker."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._tenants: set[str] = set()

    def began(self, claim: Claim) -> None:
        """A claim was fetched."""
        self._journal.histogram(families.TASK_QUEUE, *self._labels(claim)).observe(claim.waited_s)

    def ended(self, claim: Claim, outcome: str, seconds: float) -> None:
        """It has ended, so many seconds after it was fetched."""
        self._journal.cell(families.TASKS, *self._labels(claim), outcome).add(1)
        self._journal.histogram(families.TASK, *self._labels(claim)).observe(seconds)

    def executed(self, claim: Claim, rows: int, seconds: float) -> None:
        """Its rows have their results; seconds are the runner's. Call it once, when the queue has taken them."""
        self._journal.cell(families.JOB_ROWS, *self._labels(claim)).add(rows)
        self._journal.cell(families.JOB_COMPUTE, *self._labels(claim)).add(seconds)

    def _labels(self, claim: Claim) -> tuple[str, str, str]:
        if len(self._tenants) < TENANTS:
            self._tenants.add(claim.tenant)
        instance = parse_reference(claim.model)
        return claim.tenant if claim.tenant in self._tenants else "", instance.model, instance.version
