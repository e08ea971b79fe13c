"""The journals of several processes as one."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client.exposition import generate_latest

from modelyard.metrics import Journal, families
from modelyard.metrics.families import FAMILIES, families_of
from modelyard.metrics.gathering import Gathering
from tests.pages import on_page


class Replica:
    """A parent and its children, all in this process."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.journal = Journal(directory)
        self.gathering = Gathering(directory, self.journal, FAMILIES)

    def child(self, *, ok: int = 0) -> Journal:
        """Another process, which has answered so many calls."""
        journal = Journal(self.directory)
        journal.cell(families.REQUESTS, "m", "1", "OK").add(ok)
        journal.histogram(families.REQUEST, "m", "1").observe(0.001)
        journal.cell(families.FRONT_DOORS).set(1)
        return journal

    def page(self) -> str:
        """What is shown."""
        return generate_latest(self.gathering).decode()


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path)


OK = ("m", "1", "OK")


def test_what_several_processes_count_is_added_up(replica: Replica) -> None:
    children = [replica.child(ok=3), replica.child(ok=4)]
    page = replica.page()
    assert on_page(page, families.REQUESTS) == {OK: 7}
    assert on_page(page, families.REQUEST) == {("m", "1"): 2}
    assert on_page(page, families.FRONT_DOORS) == {(): len(children)}


def test_of_some_gauges_the_least_counts(replica: Replica) -> None:
    journals = [Journal(replica.directory), Journal(replica.directory)]
    for journal, there in zip(journals, (1, 0), strict=True):
        journal.cell(families.ETCD).set(there)
    assert on_page(replica.page(), families.ETCD) == {(): 0}


def test_buckets_accumulate(replica: Replica) -> None:
    latency = replica.journal.histogram(families.REQUEST, "m", "1")
    for seconds in (0.0001, 0.003, 0.003, 1_000):
        latency.observe(seconds)
    lines = replica.page().splitlines()
    assert 'modelyard_request_seconds_bucket{le="0.0005",model="m",version="1"} 1.0' in lines
    assert 'modelyard_request_seconds_bucket{le="0.005",model="m",version="1"} 3.0' in lines
    assert 'modelyard_request_seconds_bucket{le="+Inf",model="m",version="1"} 4.0' in lines
    assert 'modelyard_request_seconds_sum{model="m",version="1"} 1000.0061' in "\n".join(lines)


def test_counters_outlive_a_process_and_gauges_do_not(replica: Replica) -> None:
    first, second = replica.child(ok=3), replica.child(ok=4)
    first.close()
    for _ in range(2):  # before and after its values are taken over
        page = replica.page()
        assert on_page(page, families.REQUESTS) == {OK: 7}
        assert on_page(page, families.REQUEST) == {("m", "1"): 2}
        assert on_page(page, families.FRONT_DOORS) == {(): 1}
        replica.gathering.sample()
    assert not list(replica.directory.glob(f"*{first.owner}*"))
    assert list(replica.directory.glob(f"*{second.owner}*"))


def test_files_do_not_become_more_with_every_restart(replica: Replica) -> None:
    for _ in range(50):
        replica.child(ok=1).close()
        replica.gathering.sample()
    assert {replica.journal.owner} == {lock.stem for lock in replica.directory.glob("*.lock")}
    assert len(list(replica.directory.iterdir())) == 3
    assert on_page(replica.page(), families.REQUESTS) == {OK: 50}


def test_what_the_dead_left_is_dropped_with_its_version(replica: Replica) -> None:
    replica.child(ok=1).close()
    replica.gathering.sample()
    replica.journal.drop(set(replica.journal.versions))
    assert on_page(replica.page(), families.REQUESTS) == {}


def test_half_a_file_of_a_killed_process_is_removed(replica: Replica) -> None:
    child = replica.child(ok=1)
    (replica.directory / f"counter_{child.owner}.new").write_bytes(b"half")
    child.close()
    replica.gathering.sample()
    assert not list(replica.directory.glob("*.new"))
    assert on_page(replica.page(), families.REQUESTS) == {OK: 1}


def test_files_of_others_are_left_alone(replica: Replica) -> None:
    (replica.directory / "gauge_livesum_77.db").write_bytes(b"\0" * 64)
    assert on_page(replica.page(), families.FRONT_DOORS) == {}


def test_nothing_is_taken_over_while_somebody_reads(replica: Replica) -> None:
    child = replica.child(ok=1)
    child.close()
    with replica.gathering._reading:
        replica.gathering.sample()
        assert list(replica.directory.glob(f"*{child.owner}*"))
    replica.gathering.sample()
    assert not list(replica.directory.glob(f"*{child.owner}*"))


@pytest.mark.parametrize("service", ["scheduler", "worker", "registry"])
def test_every_family_of_a_service_is_shown_from_the_beginning(tmp_path: Path, service: str) -> None:
    expected = families_of(service)
    page = generate_latest(Gathering(tmp_path, Journal(tmp_path), expected)).decode()
    shown = [line.split()[2:4] for line in page.splitlines() if line.startswith("# TYPE")]
    assert shown == [[family.name, family.kind] for family in expected]
