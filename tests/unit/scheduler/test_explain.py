from __future__ import annotations

from dataclasses import replace

from modelyard.catalogue import Resources
from modelyard.deployment import (
    Activity,
    Deployment,
    Eviction,
    Instance,
    InstanceOptions,
    InstanceState,
    Placement,
    Selector,
    Worker,
)
from modelyard.etcd import Etcd
from modelyard.names import ModelVersion
from modelyard_scheduler.explain import explain, explain_jobs
from modelyard_scheduler.state import State

GIB = 1 << 30
ONE = ModelVersion("m", "1")
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
        "c: needs 3 GiB of memory, 2 GiB of 8 GiB are free; held by other@1",
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


OPTIONS = InstanceOptions(threads=2)


def said(view: State, **facts: object) -> list[str]:
    """Of a deployment that is also in the state."""
    wanted = replace(deployment(), **facts)  # type: ignore[arg-type]
    view.deployments.items["m@1"] = wanted
    return explain(wanted, view, leader=True)[1:]


async def test_on_demand_says_why_it_is_not_loaded() -> None:
    view = await state({"a": 8 * GIB})
    assert said(view, on_demand=True) == ["on demand: not called so far; it is loaded at its next call"]
    view.evictions.items["m@1"] = Eviction("big@2 needed the room", 1.0)
    view.instances.items["a/m@1"] = instance("a", InstanceState.UNLOADING)
    assert said(view, on_demand=True, idle_s=60.0) == [
        "on demand: unloaded, because big@2 needed the room; it is loaded at its next call; "
        "unloaded when it was not called for 60 s",
        "a: UNLOADING: withdrawn; it ends when its calls are answered",
    ]
    view.activities.items["m@1"] = Activity(1.0)
    view.instances.items.clear()
    assert said(view, on_demand=True)[-1] == "a: would fit; being placed"


async def test_who_holds_the_room_that_it_waits_for() -> None:
    view = await state({"a": 8 * GIB})
    for n in range(7):
        need = Resources(memory_bytes=GIB)
        view.placements.items[f"a/o{n}@1"] = Placement(f"o{n}", "1", "a", "d", "onnx", need, 1)
    assert said(view)[-1] == (
        "a: needs 3 GiB of memory, 1 GiB of 8 GiB are free; held by o0@1, o1@1, o2@1, o3@1, o4@1 and 2 more"
    )


async def test_pins_drains_and_moves() -> None:
    view = await state({"a": 8 * GIB, "b": 8 * GIB, "c": 2 * GIB}, ("a",), instance("a", InstanceState.READY))
    view.workers.items["b"] = replace(view.workers.items["b"], draining=True)
    assert said(view, on=Selector(("b", "c", "x"))) == [
        "a: READY: not selected by --on worker=b, worker=c, worker=x: it goes when another replica answers",
        "it cannot move yet",
        "x: selected by --on, but no such worker is live",
        "b: it drains: it is about to end",
        "c: needs 3 GiB of memory, it has 2 GiB",
    ]
    view.workers.items["a"] = replace(view.workers.items["a"], draining=True)
    assert said(view)[0] == "a: READY: the worker drains: it goes when another replica answers"


async def test_failed_and_moved() -> None:
    failed = replace(instance("a", InstanceState.FAILED, "no such operator"), failures=3)
    view = await state({"a": 8 * GIB, "b": 2 * GIB}, ("a",), failed)
    assert said(view) == [
        "a: FAILED: no such operator; failed 3 times here; it is placed on another worker if one can hold it"
    ]
    view.failures.observe([failed], {ModelVersion("m", "1")}, 0.0)
    view.placements.items.clear()
    view.instances.items.clear()
    assert said(view)[1:] == [
        "a: it failed there, and is tried elsewhere first: no such operator",
        "b: needs 3 GiB of memory, it has 2 GiB",
    ]


async def test_one_that_ends_soon_after_each_answer() -> None:
    ended = replace(instance("a", InstanceState.LOADING, "the runner ended: killed by SIGSEGV"), failures=3)
    view = await state({"a": 8 * GIB}, ("a",), ended)
    moved = "failed 3 times here; it is placed on another worker if one can hold it"
    assert said(view) == [f"a: LOADING: the runner ended: killed by SIGSEGV; {moved}"]


async def test_the_last_failure_is_said_also_when_something_else_is_in_the_way_by_now() -> None:
    ended = replace(instance("a", InstanceState.LOADING, "the runner ended: killed by SIGSEGV"), failures=3)
    waits = replace(ended, reason="no registry is live")
    view = await state({"a": 8 * GIB}, ("a",), waits)
    for now_s, one in enumerate((ended, waits)):
        view.failures.observe([one], {ModelVersion("m", "1")}, now_s)
    assert said(view) == [
        "a: LOADING: no registry is live; failed 3 times here; the last time: the runner ended: killed by SIGSEGV; "
        "it is placed on another worker if one can hold it"
    ]
    ready = instance("a", InstanceState.READY)
    view.instances.items["a/m@1"] = replace(ready, failures=3)
    assert said(view) == [
        "a: READY: failed 3 times here; the last time: the runner ended: killed by SIGSEGV",
    ]


async def test_a_change_of_options_and_a_new_version() -> None:
    view = await state({"a": 8 * GIB}, ("a",), instance("a", InstanceState.READY))
    assert said(view, options=OPTIONS) == [
        "a: READY: with the options of before; they are changed replica by replica, while the others answer"
    ]
    view.instances.items["a/m@1"] = instance("a", InstanceState.UNLOADING)
    assert said(view, options=OPTIONS) == [
        "a: UNLOADING: it is loaded with the new options when it is gone: there is no room for both at once"
    ]
    view.instances.items["a/m@1"] = instance("a", InstanceState.READY)
    heir = replace(deployment(), version="2", replaces=("1",))
    view.deployments.items["m@2"] = heir
    assert said(view) == ["a: READY", "being replaced by m@2"]
    assert explain(heir, view, leader=True)[1] == "replaces 1: that ends when all replicas of this one are READY"


async def test_a_shared_gpu_is_part_of_the_need() -> None:
    view = await state({"a": 8 * GIB})
    wanted = replace(deployment(), options=InstanceOptions(device="cuda"))
    findings = explain(wanted, view, leader=True)
    assert findings[0].endswith("each needs 3 GiB, 2 cores, a shared GPU")
    assert findings[-1] == "a: needs 1 GPUs, it has 0"


async def for_jobs(workers: dict[str, int], placed: tuple[str, ...], *instances: Instance) -> State:
    """A state in which a job wants the version on three workers, and it is placed for that."""
    built = await state(workers, placed, *instances)
    held = built.placements.items
    held.update({name: replace(placement, internal=True) for name, placement in held.items()})
    built.wishes.items["m@1/job-a"] = deployment(3)
    return built


async def test_what_jobs_want_step_by_step() -> None:
    ready, loading = instance("a", InstanceState.READY), instance("b", InstanceState.LOADING)
    view = await for_jobs(dict.fromkeys("abc", 8 * GIB) | {"d": GIB}, ("a", "b", "c"), ready, loading)
    view.wishes.items["m@1/job-b"] = deployment(2)
    view.wishes.items["m@1/job-c"] = deployment(0)
    view.wishes.items["m@2/job-d"] = replace(deployment(), version="2")
    assert explain_jobs(ONE, view, leader=True) == [
        "job job-a: wants it on 3 workers",
        "job job-b: wants it on 2 workers",
        "job job-c: it has ended; what is loaded stays for a minute, unless others need the room",
        "m@1: 3 replicas for jobs; each needs 3 GiB, 2 cores",
        "a: READY: it pulls tasks",
        "b: LOADING",
        "c: placed here, the worker has not begun to load it",
        "d: needs 3 GiB of memory, it has 1 GiB",
    ]


async def test_what_no_job_wants() -> None:
    assert explain_jobs(ONE, await state({"a": 8 * GIB}, ("a",)), leader=True) == []


async def test_jobs_without_a_leader_or_a_worker() -> None:
    assert explain_jobs(ONE, await for_jobs({"a": 8 * GIB}, ()), leader=False)[2:] == [
        "3 replicas not placed: no scheduler leads"
    ]
    assert explain_jobs(ONE, await for_jobs({}, ()), leader=True)[2:] == ["3 replicas not placed: no worker is live"]


async def test_a_deployment_beside_its_jobs_counts_its_own_replicas() -> None:
    ready = [instance(name, InstanceState.READY) for name in "ab"]
    view = await for_jobs(dict.fromkeys("ab", 8 * GIB), ("a", "b"), *ready)
    view.placements.items["a/m@1"] = replace(view.placements.items["a/m@1"], internal=False)
    view.deployments.items["m@1"] = deployment()
    assert explain(deployment(), view, leader=True) == [
        "m@1: 1 of 1 replicas READY; each needs 3 GiB, 2 cores",
        "a: READY",
    ]
    assert explain_jobs(ONE, view, leader=True) == [
        "job job-a: wants it on 3 workers",
        "m@1: 1 replica for jobs beside 1 of its deployment; each needs 3 GiB, 2 cores",
        "b: READY: it pulls tasks",
    ]


async def test_who_holds_the_room_for_jobs_is_said() -> None:
    view = await state({"a": 8 * GIB})
    other = Placement("other", "1", "a", "d", "onnx", Resources(memory_bytes=6 * GIB), 1, internal=True)
    view.placements.items["a/other@1"] = other
    assert explain(deployment(), view, leader=True)[-1].endswith("held by other@1 (for jobs)")
