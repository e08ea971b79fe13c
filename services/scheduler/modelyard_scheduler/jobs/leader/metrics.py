"""What the leader says of jobs to Prometheus. Who does not lead says nothing."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from modelyard.metrics import Journal, families
from modelyard.names import parse_reference
from modelyard.queue import Depth

Labels = tuple[str, str, str]


@dataclass
class Figures:
    """What is counted.

    Attributes:
        states: how many jobs there are in each state that have not ended.
        depths: what there is to do, by tenant and model.
        recovered: claims that were taken back since the last sample, by what became of their tasks.
        retried: attempts made again since then, by tenant and model@version.
        looked_s: when late claims were looked for last, by time.monotonic; 0: not in this term.
    """

    states: dict[str, int] = field(default_factory=dict)
    depths: Sequence[Depth] = ()
    recovered: Counter[str] = field(default_factory=Counter)
    retried: Counter[tuple[str, str]] = field(default_factory=Counter)
    looked_s: float = 0.0

    def clear(self) -> None:
        """Say no more how things are: the term is over."""
        self.states, self.depths, self.looked_s = {}, (), 0.0


class JobMetrics:
    """Writes down figures once a second."""

    def __init__(self, journal: Journal, figures: Figures) -> None:
        self._journal = journal
        self._figures = figures

    def sample(self) -> None:
        """Write down how they are."""
        figures, journal = self._figures, self._journal
        journal.replace(families.JOBS, {(state,): float(number) for state, number in figures.states.items()})
        journal.replace(families.TASKS_QUEUED, self._by_labels("queued"))
        journal.replace(families.TASKS_DELAYED, self._by_labels("delayed"))
        journal.replace(families.TASKS_IN_FLIGHT, self._by_labels("in_flight"))
        journal.replace(families.TASKS_OLDEST, self._by_labels("oldest_s"))
        journal.replace(families.TASKS_DEAD, self._by_labels("dead"))
        age_s = {(): time.monotonic() - figures.looked_s} if figures.looked_s else {}
        journal.replace(families.RECOVERY_AGE, age_s)
        self._count()

    def _by_labels(self, name: str) -> dict[Labels, float]:
        return {_labels(depth.tenant, depth.model): float(getattr(depth, name)) for depth in self._figures.depths}

    def _count(self) -> None:
        for outcome, number in self._figures.recovered.items():
            self._journal.cell(families.RECOVERED, outcome).add(number)
        for (tenant, model), number in self._figures.retried.items():
            self._journal.cell(families.TASK_RETRIES, *_labels(tenant, model)).add(number)
        self._figures.recovered.clear()
        self._figures.retried.clear()


def _labels(tenant: str, model: str) -> Labels:
    found = parse_reference(model)
    return tenant, found.model, found.version
