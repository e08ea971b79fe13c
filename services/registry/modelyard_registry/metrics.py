"""What a registry measures, once a second: bytes that came and went, the catalogue, collections."""

from __future__ import annotations

from modelyard.metrics import Family, Journal, families
from modelyard_registry.artifacts.collector import Collector
from modelyard_registry.search.discovery import Discovery
from modelyard_registry.servicer.artifacts import ArtifactMethods


class RegistryMetrics:
    """Looks at the parts of a registry, which count in plain numbers."""

    def __init__(self, journal: Journal, methods: ArtifactMethods, discovery: Discovery, collector: Collector) -> None:
        self._journal = journal
        self._methods = methods
        self._discovery = discovery
        self._collector = collector

    def sample(self) -> None:
        """Write down how they are. Nobody else adds to these counters, so that they can be set."""
        counted: dict[tuple[Family, str], float] = {
            (families.RECEIVED, ""): self._methods.received_bytes,
            (families.SENT, ""): self._methods.sent_bytes,
            (families.COLLECTED, ""): self._collector.removed_bytes,
            (families.MODELS, ""): self._discovery.models,
            (families.VERSIONS, ""): self._discovery.versions,
        }
        for outcome in ("done", "failed"):
            counted[families.COLLECTIONS, outcome] = self._collector.outcomes[outcome]
        for (family, label), value in counted.items():
            self._journal.cell(family, *([label] if label else [])).set(value)
