"""What is listed of the state: grouped once a request, however much there is."""

from __future__ import annotations

from collections.abc import Iterator, ValuesView
from dataclasses import replace
from typing import Any, TypeVar, cast

import pytest

from modelyard import codec, keys
from modelyard.catalogue import Resources
from modelyard.deployment import Instance, Placement, Selector
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard.v1 import scheduler_pb2 as pb
from modelyard_scheduler.service import Deployments
from modelyard_scheduler.servicer import SchedulerServicer
from modelyard_scheduler.state import State
from tests.unit.scheduler.simulation import READY, deployment, worker

V = TypeVar("V")
ANYWHERE, W0, NOWHERE = Selector(), Selector(("w0",)), Selector((), (("zone", "a"),))
NONE = cast(Any, None)


class Counted(dict[str, V]):
    """Counts how often all of it is looked at."""

    walks = 0

    def values(self) -> ValuesView[V]:  # type: ignore[override]
        return Walked(self)


class Walked(ValuesView[V]):
    """What is there, as the dict says."""

    _mapping: Counted[V]

    def __iter__(self) -> Iterator[V]:
        self._mapping.walks += 1
        return iter(dict.values(self._mapping))


@pytest.fixture
async def state(etcd: Etcd) -> State:
    """Three deployments, each with an instance on each of two workers."""
    state = State(etcd, lambda: None)
    state.instances.items, state.placements.items = Counted(), Counted()
    for name in ("w1", "w0"):
        state.workers.items[name] = worker(name)
        for model in ("x", "y", "z"):
            site = f"{name}/{model}@1"
            state.instances.items[site] = Instance(model, "1", name, READY)
            state.placements.items[site] = Placement(model, "1", name, "d", "onnx", Resources(), 1)
    for model in ("x", "y", "z"):
        await etcd.put(keys.deployment(model, "1"), codec.encode(deployment(model, 2)))
    return state


def walks(items: dict[str, V]) -> int:
    return cast(Counted[V], items).walks


async def test_deployments_are_listed_with_their_instances_in_one_walk(etcd: Etcd, state: State) -> None:
    servicer = SchedulerServicer(Deployments(etcd, state, NONE), state)
    listed = (await servicer.ListDeployments(pb.ListDeploymentsRequest(), NONE)).deployments
    assert [(d.model, d.ready_replicas, [i.worker for i in d.instances]) for d in listed] == [
        (model, 2, ["w0", "w1"]) for model in ("x", "y", "z")
    ]
    assert walks(state.instances.items) == 1


async def test_workers_are_listed_with_what_is_on_them_in_one_walk(etcd: Etcd, state: State) -> None:
    servicer = SchedulerServicer(Deployments(etcd, state, NONE), state)
    state.workers.items["idle"] = worker("idle")
    listed = (await servicer.ListWorkers(pb.ListWorkersRequest(), NONE)).workers
    models = ["x@1", "y@1", "z@1"]
    assert [(w.id, list(w.placements)) for w in listed] == [("idle", []), ("w0", models), ("w1", models)]
    assert walks(state.placements.items) == 2  # what is reserved, and what is placed


async def test_replicas_on_workers_that_are_not_selected_any_more_do_not_count(state: State) -> None:
    instances = state.instances_of(ModelVersion("x", "1"))
    assert [state.ready_replicas(deployment("x", 2, on=on), instances) for on in (ANYWHERE, W0, NOWHERE)] == [2, 1, 0]
    del state.workers.items["w1"]  # its labels are not known
    assert state.ready_replicas(deployment("x", 2, on=W0), instances) == 2


async def test_what_is_grouped_is_what_is_found_one_by_one(state: State) -> None:
    grouped = state.instances_by_version()
    assert grouped == {ModelVersion(m, "1"): state.instances_of(ModelVersion(m, "1")) for m in ("x", "y", "z")}


async def test_what_answers_for_jobs_is_not_a_replica_of_the_deployment(state: State) -> None:
    instances = state.instances_of(ModelVersion("x", "1"))
    state.placements.items["w0/x@1"] = replace(state.placements.items["w0/x@1"], internal=True)
    assert state.ready_replicas(deployment("x", 2), instances) == 1
    assert state.placed(ModelVersion("x", "1")) == ["w1"]
    assert state.placed(ModelVersion("x", "1"), internal=True) == ["w0"]


async def test_internal_deployments_follow_wishes_and_what_users_say(state: State) -> None:
    assert state.internal() == {}
    state.wishes.items |= {
        "x@1/a": deployment("x", 2),
        "x@1/b": deployment("x", 3),
        "x@10/a": deployment("x", version="10"),
    }
    state.deployments.items["x@1"] = deployment("x", 9, on=W0)
    assert state.internal()[ModelVersion("x", "1")] == deployment("x", 5, on=W0)
    assert set(state.wishes_of(ModelVersion("x", "1"))) == {"a", "b"}
