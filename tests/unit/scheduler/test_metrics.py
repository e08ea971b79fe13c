"""What a front door and a controller measure."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Eviction, Instance, InstanceState, Placement, Worker
from modelyard.etcd import Etcd
from modelyard.metrics import Journal, families
from modelyard.names import ModelVersion
from modelyard_scheduler.frontdoor.metrics import CallMetrics, RouteMetrics
from modelyard_scheduler.metrics import DeploymentMetrics
from modelyard_scheduler.state import State
from tests.pages import values

ONE, TWO = ModelVersion("m", "1"), ModelVersion("m", "2")


def deployment(version: str, replicas: int = 1) -> Deployment:
    return Deployment("m", version, replicas, Resources(), "d" * 64, "onnx")


def test_calls_are_counted_by_version_and_status(tmp_path: Path) -> None:
    calls = CallMetrics(Journal(tmp_path))
    for version, status in ((ONE, "OK"), (ONE, "OK"), (ONE, "UNAVAILABLE"), (TWO, "OK"), (None, "NOT_FOUND")):
        calls.observe(version, status, 0.01)
    assert values(tmp_path, families.REQUESTS) == {
        ("m", "1", "OK"): 2,
        ("m", "1", "UNAVAILABLE"): 1,
        ("m", "2", "OK"): 1,
        ("", "", "NOT_FOUND"): 1,
    }
    assert values(tmp_path, families.REQUEST) == {("m", "1"): 3, ("m", "2"): 1, ("", ""): 1}


def test_calls_of_a_version_that_was_dropped_are_counted_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    calls = CallMetrics(journal)
    calls.observe(ONE, "OK", 0.01)
    calls.observe(None, "NOT_FOUND", 0.01)
    journal.drop({ONE})
    calls.sample()
    calls.observe(ONE, "OK", 0.01)
    calls.observe(None, "NOT_FOUND", 0.01)
    assert values(tmp_path, families.REQUESTS) == {("m", "1", "OK"): 1, ("", "", "NOT_FOUND"): 2}


class Streams:
    """Stands for a routing table: deployed versions, and how their streams are."""

    def __init__(self, **streams: list[tuple[bool, int]]) -> None:
        self.deployments = self
        self.items = {f"m@{name[1:]}": deployment(name[1:]) for name in streams}
        self._streams = {ModelVersion("m", name[1:]): found for name, found in streams.items()}

    def streams(self, version: ModelVersion) -> list[Any]:
        return [type("Stream", (), {"connected": c, "outstanding": n}) for c, n in self._streams[version]]


def test_streams_are_looked_at(tmp_path: Path) -> None:
    journal, table = Journal(tmp_path), Streams(v1=[(True, 3), (True, 4), (False, 0)], v2=[])
    routes = RouteMetrics(journal, table)  # type: ignore[arg-type]
    routes.sample()
    assert routes.deployed() == {ONE, TWO}
    assert values(tmp_path, families.OUTSTANDING) == {("m", "1"): 7, ("m", "2"): 0}
    assert values(tmp_path, families.REACHABLE) == {("m", "1"): 2, ("m", "2"): 0}
    assert values(tmp_path, families.FRONT_DOORS) == {(): 1}
    del table.items["m@2"]
    routes.sample()
    assert values(tmp_path, families.REACHABLE) == {("m", "1"): 2}


class Leadership:
    """Whether this scheduler leads."""

    held = True


@pytest.fixture
async def state() -> AsyncIterator[State]:
    etcd = Etcd("127.0.0.1:1")
    yield State(etcd, lambda: None)
    await etcd.close()


async def test_deployments_are_looked_at(state: State, tmp_path: Path) -> None:
    metrics = DeploymentMetrics(Journal(tmp_path), state, Leadership())  # type: ignore[arg-type]
    state.deployments.items |= {"m@1": deployment("1", 3), "m@2": deployment("2")}
    for worker, being in (("a", InstanceState.READY), ("b", InstanceState.READY), ("c", InstanceState.FAILED)):
        state.workers.items[worker] = Worker(worker, "", 1, 1, "")
        state.instances.items[f"{worker}/m@1"] = Instance("m", "1", worker, being)
        state.instances.items[f"{worker}/gone@1"] = Instance("gone", "1", worker, InstanceState.READY)
    metrics.sample()
    assert metrics.deployed() == {ONE, TWO}
    assert values(tmp_path, families.WANTED) == {("m", "1"): 3, ("m", "2"): 1}
    assert values(tmp_path, families.READY) == {("m", "1"): 2, ("m", "2"): 0}
    assert values(tmp_path, families.WORKERS) == {(): 3}


async def test_what_is_there_for_jobs_is_not_among_what_users_have(state: State, tmp_path: Path) -> None:
    metrics = DeploymentMetrics(Journal(tmp_path), state, Leadership())  # type: ignore[arg-type]
    state.deployments.items["m@1"] = deployment("1")
    state.wishes.items |= {"m@1/job": deployment("1", 2), "m@2/job": deployment("2", 2)}
    for worker, version, internal in (("a", "1", False), ("b", "1", True), ("a", "2", True)):
        name = f"{worker}/m@{version}"
        state.instances.items[name] = Instance("m", version, worker, InstanceState.READY)
        state.placements.items[name] = Placement(
            "m", version, worker, "d" * 64, "onnx", Resources(), 1, internal=internal
        )
    metrics.sample()
    assert metrics.deployed() == {ONE, TWO}, "what is counted of them stays"
    assert values(tmp_path, families.WANTED) == {("m", "1"): 1}
    assert values(tmp_path, families.READY) == {("m", "1"): 1}


async def test_evictions_are_counted_by_who_leads(state: State, tmp_path: Path) -> None:
    def evict(name: str, revision: int) -> None:
        state.evictions.items[name], state.evictions.revisions[name] = Eviction("room", 0.0), revision

    leadership = Leadership()
    evict("m@1", 5)
    metrics = DeploymentMetrics(Journal(tmp_path), state, leadership)  # type: ignore[arg-type]
    metrics.sample()
    assert values(tmp_path, families.EVICTIONS) == {}, "that was before"
    evict("m@2", 6)
    metrics.sample()
    metrics.sample()
    evict("m@2", 8)
    metrics.sample()
    assert values(tmp_path, families.EVICTIONS) == {("m", "2"): 2}
    leadership.held = False
    evict("m@1", 9)
    metrics.sample()
    leadership.held = True
    metrics.sample()
    assert values(tmp_path, families.EVICTIONS) == {("m", "2"): 2}
