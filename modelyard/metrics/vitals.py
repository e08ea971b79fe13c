"""What every service says of itself: its leases, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from modelyard.dependency import Dependency
from modelyard.metrics import families
from modelyard.metrics.families import Family
from modelyard.metrics.journal import Journal


class Lease(Protocol):
    """Something that is held under a lease."""

    @property
    def held(self) -> bool:
        """Whether the lease lives, as far as its holder can know."""
        ...

    @property
    def failed_renewals(self) -> int:
        """How often a renewal of it has failed so far."""
        ...


class Vitals:
    """Samples leases by name, and dependencies by the family that is theirs."""

    def __init__(self, journal: Journal, leases: Mapping[str, Lease]) -> None:
        self.dependencies: dict[Family, Dependency] = {}
        self._journal = journal
        self._leases = leases
        self._seen: dict[str, int] = {}

    def sample(self) -> None:
        """Write how they are."""
        for family, dependency in self.dependencies.items():
            self._journal.cell(family).set(dependency.answers)
        for name, lease in self._leases.items():
            self._journal.cell(families.LEASE, name).set(lease.held)
            failed = lease.failed_renewals
            self._journal.cell(families.RENEWALS, name).add(failed - self._seen.get(name, 0))
            self._seen[name] = failed
