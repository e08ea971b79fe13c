"""What a worker's agent measures: how its instances come and go, and what memory it has promised."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection

from modelyard.deployment import Instance, InstanceState, Placement
from modelyard.metrics import Journal, families
from modelyard.names import ModelVersion


class InstanceLife:
    """Counts what becomes of one instance, by what is announced of it."""

    def __init__(self, journal: Journal, clock: Callable[[], float] = time.monotonic) -> None:
        """It is to be loaded from now on."""
        self._journal = journal
        self._clock = clock
        self._state = InstanceState.LOADING
        self._failures = 0
        self._began_s = clock()

    def observe(self, instance: Instance) -> None:
        """Take note of an announcement."""
        before, self._state = self._state, instance.state
        failed, self._failures = instance.failures > self._failures, instance.failures
        labels = instance.model, instance.version
        if instance.state is InstanceState.READY and before is not InstanceState.READY:
            self._journal.cell(families.LOADS, *labels, "ready").add(1)
            self._journal.histogram(families.LOAD, *labels).observe(self._clock() - self._began_s)
        elif before is InstanceState.READY and instance.state is not InstanceState.READY:
            self._began_s = self._clock()
        if before is InstanceState.READY and instance.state in {InstanceState.LOADING, InstanceState.FAILED}:
            self._journal.cell(families.RUNNER_FAILURES, *labels).add(1)
        elif failed:
            self._journal.cell(families.LOADS, *labels, "failed").add(1)
        if instance.state is InstanceState.UNLOADING and before is not InstanceState.UNLOADING:
            self._journal.cell(families.UNLOADS, *labels).add(1)


class WorkerMetrics:
    """Looks at what is placed on this worker."""

    def __init__(self, journal: Journal, placements: Callable[[], Collection[Placement]], capacity_bytes: int) -> None:
        self._journal = journal
        self._placements = placements
        self._capacity_bytes = capacity_bytes

    def placed(self) -> set[ModelVersion]:
        """The versions that are placed here."""
        return {ModelVersion(p.model, p.version) for p in self._placements()}

    def sample(self) -> None:
        """Write down the memory that is promised, and that can be."""
        reserved_bytes = sum(p.resources.memory_bytes for p in self._placements())
        self._journal.cell(families.RESERVED).set(reserved_bytes)
        self._journal.cell(families.CAPACITY).set(self._capacity_bytes)
