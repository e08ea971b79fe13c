"""What a scheduler says of deployments: from its view of etcd, once a second."""

from __future__ import annotations

from collections import Counter

from modelyard.deployment import InstanceState
from modelyard.metrics import Journal, families
from modelyard.names import ModelVersion
from modelyard.session import Election
from modelyard_scheduler.state import State


class DeploymentMetrics:
    """Replicas, workers and evictions."""

    def __init__(self, journal: Journal, state: State, election: Election) -> None:
        self._journal = journal
        self._state = state
        self._election = election
        self._evictions = dict(state.evictions.revisions)

    def deployed(self) -> set[ModelVersion]:
        """The versions that are deployed, by users or for jobs."""
        users = (ModelVersion(d.model, d.version) for d in self._state.deployments.items.values())
        return {*users, *self._state.internal()}

    def sample(self) -> None:
        """Write down how they are."""
        deployments = self._state.deployments.items.values()
        internal = {name for name, placement in self._state.placements.items.items() if placement.internal}
        instances = (i for name, i in self._state.instances.items.items() if name not in internal)
        ready = Counter((i.model, i.version) for i in instances if i.state is InstanceState.READY)
        wanted = {(d.model, d.version): d.replicas for d in deployments}
        self._journal.replace(families.WANTED, wanted)
        self._journal.replace(families.READY, {labels: ready[labels] for labels in wanted})
        self._journal.cell(families.WORKERS).set(len(self._state.workers.items))
        self._count_evictions()

    def _count_evictions(self) -> None:
        """Each is written down once by the leader, which counts it here."""
        before, self._evictions = self._evictions, dict(self._state.evictions.revisions)
        if self._election.held:
            for name, revision in self._evictions.items():
                if before.get(name) != revision:
                    model, _, version = name.partition("@")
                    self._journal.cell(families.EVICTIONS, model, version).add(1)
