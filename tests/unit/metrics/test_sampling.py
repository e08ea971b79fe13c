"""Looking at things once a second, and letting go of what is gone."""

from __future__ import annotations

from dataclasses import dataclass, field

from modelyard.dependency import Dependency
from modelyard.metrics import Journal, families
from modelyard.metrics.retention import Retention
from modelyard.metrics.sampling import Samplers
from modelyard.metrics.vitals import Vitals
from modelyard.names import ModelVersion


@dataclass
class Lease:
    held: bool = True
    failed_renewals: int = 0


@dataclass
class Probe:
    """Notes what the journal knows when it is asked to look."""

    journal: Journal
    seen: list[set[ModelVersion]] = field(default_factory=list)

    def sample(self) -> None:
        assert self.journal.lock.locked()
        self.seen.append(set(self.journal.versions))


def test_versions_that_are_gone_are_dropped_before_anybody_looks() -> None:
    journal = Journal()
    journal.cell(families.UNLOADS, "m", "1").add(1)
    probe, present = Probe(journal), {ModelVersion("m", "1")}
    samplers = Samplers(journal, lambda: present, probe, retention=Retention(keep_s=0))
    samplers.sample()
    present.clear()
    samplers.sample()
    assert probe.seen == [{ModelVersion("m", "1")}, set()]
    assert not journal.lock.locked()


async def nothing() -> None:
    """Answer."""


def test_leases_and_dependencies_are_written_down() -> None:
    journal, lease, etcd = Journal(), Lease(failed_renewals=2), Dependency("etcd", nothing)
    vitals = Vitals(journal, {"member": lease})
    vitals.dependencies[families.ETCD] = etcd
    vitals.sample()
    vitals.sample()
    assert journal.cell(families.ETCD).value == 1
    assert journal.cell(families.LEASE, "member").value == 1
    assert journal.cell(families.RENEWALS, "member").value == 2
    lease.held, lease.failed_renewals, etcd.answers = False, 5, False
    vitals.sample()
    assert journal.cell(families.ETCD).value == 0
    assert journal.cell(families.LEASE, "member").value == 0
    assert journal.cell(families.RENEWALS, "member").value == 5
