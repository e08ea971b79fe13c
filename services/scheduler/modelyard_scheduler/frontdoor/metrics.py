"""What a front door measures: each call as it ends, and its streams once a second."""

from __future__ import annotations

from modelyard.metrics import Cell, Histogram, Journal, families
from modelyard.metrics.journal import UNKNOWN
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.table import RoutingTable


class CallMetrics:
    """Counts calls. Of versions only those that the router has resolved appear by name."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._calls: dict[ModelVersion, tuple[Histogram, dict[str, Cell]]] = {}

    def observe(self, version: ModelVersion | None, status: str, seconds: float) -> None:
        """Count a call that has ended.

        Args:
            version: what was called; None if it named nothing that is deployed.
            status: the name of the gRPC status.
            seconds: from its arrival to its answer.
        """
        version = version or UNKNOWN
        latency, by_status = self._calls.get(version) or self._begin(version)
        latency.observe(seconds)
        cell = by_status.get(status)
        if cell is None:
            cell = by_status[status] = self._journal.cell(families.REQUESTS, version.model, version.version, status)
        cell.add(1)

    def _begin(self, version: ModelVersion) -> tuple[Histogram, dict[str, Cell]]:
        latency = self._journal.histogram(families.REQUEST, version.model, version.version)
        return self._calls.setdefault(version, (latency, {}))

    def sample(self) -> None:
        """Let go of versions that the journal has dropped."""
        for version in self._calls.keys() - self._journal.versions - {UNKNOWN}:
            del self._calls[version]


class RouteMetrics:
    """Looks at the streams."""

    def __init__(self, journal: Journal, table: RoutingTable) -> None:
        self._journal = journal
        self._table = table

    def deployed(self) -> set[ModelVersion]:
        """The versions that are deployed."""
        return {ModelVersion(d.model, d.version) for d in self._table.deployments.items.values()}

    def sample(self) -> None:
        """Write down how many calls are outstanding, and how many instances there are to send one to."""
        streams = {(v.model, v.version): self._table.streams(v) for v in self.deployed()}
        outstanding = {labels: sum(s.outstanding for s in found) for labels, found in streams.items()}
        reachable = {labels: sum(s.connected for s in found) for labels, found in streams.items()}
        self._journal.replace(families.OUTSTANDING, outstanding)
        self._journal.replace(families.REACHABLE, reachable)
        self._journal.cell(families.FRONT_DOORS).set(1)
