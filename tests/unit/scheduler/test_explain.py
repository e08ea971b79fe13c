from __future__ import annotations

from modelyard.catalogue import Resources
from modelyard.deployment import Deployment, Instance, InstanceState, Placement, Worker
from modelyard.etcd import Etcd
from modelyard_scheduler.explain import explain
from modelyard_scheduler.state import State

GIB = 1 << 30
NEED = Resources(cpu=2, memory_bytes=3 * GIB, gpu=0)


def deployment(replicas: int = 1, need: Resources = NEED) -> Deployment:
    return Deployment("m", "1", replicas, need, "d" * 64, "onnx")


async def state(workers: dict[str, int], placed: tuple[str, ...] = (), *instances: Instance) -> State:
    """A state as its mirrors would hold it; no etcd is asked."""
    etcd = Etcd("127.0.0.1:1")
    await etcd.close()
    built = State(etcd, lambda: None)
    built.workers.items.update({n: Worker(n, "127.0.0.1:1", 4.0, size, incarnation=n) for n, size in workers.items()})
    built.placements.items.update({f"{w}/m@1": Placement("m", "1", w, "d" * 64, "onnx", NEED, 1) for w in placed})
    built.instances.items.update({f"{i.worker}/m@1": i for i in instances})
    return built


def instance(worker: str, kind: InstanceState, reason: str = "") -> Instance:
    return Instance("m", "1", worker, kind, reason)


async def test_all_is_well() -> None:
    view = await state({"a": 8 * GIB}, ("a",), instance("a", InstanceState.READY))
    assert explain(deployment(), view, leader=True) == [
        "m@1: 1 of 1 replicas READY; each needs 3 GiB, 2 cores",
        "a: READY",
    ]


async def test_a_failure_comes_with_its_reason() -> None:
    view = await state({"a": 8 * GIB}, ("a",), instance("a", InstanceState.FAILED, "load failed: no such operator"))
    assert explain(deployment(), view, leader=True)[1:] == ["a: FAILED: load failed: no such operator"]


async def test_placed_but_not_begun_and_placed_on_a_worker_that_is_gone() -> None:
    view = await state({"a": 8 * GIB}, ("a", "b"))
    assert explain(deployment(2), view, leader=True)[1:] == [
        "a: placed here, the worker has not begun to load it",
        "b: placed here, but the worker is gone; it is placed anew unless it comes back",
    ]


async def test_what_is_not_placed_says_why_worker_by_worker() -> None:
    view = await state({"a": 8 * GIB, "b": 2 * GIB, "c": 8 * GIB}, ("a",), instance("a", InstanceState.LOADING))
    view.placements.items["c/other@1"] = Placement("other", "1", "c", "d", "onnx", Resources(memory_bytes=6 * GIB), 1)
    assert explain(deployment(4), view, leader=True)[1:] == [
        "a: LOADING",
        "3 replicas not placed; each is to be on a worker of its own",
        "b: needs 3 GiB of memory, it has 2 GiB",
        "c: needs 3 GiB of memory, 2 GiB of 8 GiB are free",
    ]


async def test_nobody_leads_and_nobody_works() -> None:
    view = await state({})
    assert explain(deployment(2), view, leader=False)[1:] == ["2 replicas not placed: no scheduler leads"]
    assert explain(deployment(2), view, leader=True)[1:] == ["2 replicas not placed: no worker is live"]


async def test_a_worker_where_it_would_fit_is_said_to_be_on_its_way() -> None:
    view = await state({"a": 8 * GIB})
    need = Resources(memory_bytes=GIB, gpu=0)
    assert explain(deployment(need=need), view, leader=True) == [
        "m@1: 0 of 1 replicas READY; each needs 1 GiB",
        "1 replicas not placed; each is to be on a worker of its own",
        "a: would fit; being placed",
    ]


async def test_gpus_are_part_of_the_need() -> None:
    view = await state({"a": 8 * GIB})
    findings = explain(deployment(need=Resources(memory_bytes=GIB, gpu=2)), view, leader=True)
    assert findings[0].endswith("each needs 1 GiB, 2 GPUs")
    assert findings[-1] == "a: needs 2 GPUs, it has 0"
