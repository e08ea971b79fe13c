"""The leader's policies together: what moves, what changes, what must not; agents take their steps when told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from modelyard.deployment import Instance, InstanceOptions
from modelyard_scheduler.decision import MOST_PLACED, decide
from tests.unit.scheduler.simulation import READY, Cluster, deployment, key, on, worker


def test_what_is_settled_stays_settled() -> None:
    cluster = Cluster(*(worker(f"w{n}", 16) for n in range(5)))
    cluster.deploy(*(deployment(f"m{n}", 2) for n in range(12)))
    cluster.settle()
    before = cluster.placed()
    cluster.workers["new"] = worker("new", 64)
    assert cluster.settle() == []
    assert cluster.placed() == before


def test_a_worker_that_drains_keeps_what_answers_until_it_answers_elsewhere() -> None:
    cluster = Cluster(worker("a"), worker("b"))
    cluster.deploy(deployment("m", on=on("a")))
    cluster.settle()
    cluster.deploy(deployment("m"))
    cluster.drain("a")
    cluster.decide()
    assert cluster.placed() == {"m@1": ["a", "b"]}
    cluster.step(("b", key("m")))  # loading
    assert not cluster.decide()
    cluster.step(("b", key("m")))  # loaded
    cluster.decide()
    assert cluster.placed() == {"m@1": ["b"]}


def test_a_worker_that_drains_and_cannot_be_relieved_is_released_at_once() -> None:
    cluster = Cluster(worker("a", 8), worker("small", 1), worker("b", 8, draining=True))
    cluster.deploy(deployment("m", gib=2))
    cluster.settle()
    cluster.drain("a")
    cluster.settle()
    assert cluster.placed() == {}


def test_a_worker_that_drains_waits_where_others_are_full() -> None:
    cluster = Cluster(worker("a", 8), worker("b", 8))
    cluster.deploy(deployment("m", gib=6, on=on("a")), deployment("n", gib=6, on=on("b")))
    cluster.settle()
    cluster.deploy(deployment("m", gib=6))
    cluster.drain("a")
    assert cluster.settle() == []
    cluster.undeploy("n")
    cluster.settle()
    assert cluster.placed() == {"m@1": ["b"]}


def test_room_is_free_only_when_what_had_it_is_gone() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("m", gib=6))
    cluster.settle()
    cluster.undeploy("m")
    cluster.deploy(deployment("n", gib=6))
    cluster.decide()
    assert cluster.placed() == {}
    cluster.step(("a", key("m")))
    assert not cluster.decide()
    cluster.step(("a", key("m")))
    cluster.decide()
    assert cluster.placed() == {"n@1": ["a"]}


def test_what_is_pinned_elsewhere_moves_without_a_gap_and_stays_where_it_was_until_there_is_room() -> None:
    cluster = Cluster(worker("a"), worker("b", 4, zone="east"))
    cluster.deploy(deployment("m", gib=3, on=on("a")), deployment("n", gib=3, on=on(zone="east")))
    cluster.settle()
    cluster.deploy(deployment("m", gib=3, on=on(zone="east")))
    assert cluster.settle() == []
    assert cluster.placed() == {"m@1": ["a"], "n@1": ["b"]}
    cluster.undeploy("n")
    cluster.settle()
    assert cluster.placed() == {"m@1": ["b"]}


def test_a_replica_that_fails_is_tried_elsewhere_and_not_moved_to_and_fro() -> None:
    cluster = Cluster(worker("a"), worker("b"), worker("c"))
    cluster.deploy(deployment("m", on=on("a")))
    cluster.decide()
    cluster.deploy(deployment("m"))
    cluster.broken = {("a", "m")}
    cluster.settle()
    (place,) = cluster.placed()["m@1"]
    assert place != "a"
    cluster.broken |= {("b", "m"), ("c", "m")}
    cluster.crash(place)
    seen = set()
    for _ in range(40):
        cluster.decide()
        seen |= {name for names in cluster.placed().values() for name in names}
        for site in cluster.pending():
            cluster.step(site)
        cluster.now_s += 1
    assert len(cluster.placed()["m@1"]) == 1
    assert seen <= {"a", "b", "c"} - {place}
    last = cluster.placed()
    for _ in range(40):
        cluster.decide()
        for site in cluster.pending():
            cluster.step(site)
    assert cluster.placed() == last


def test_what_failed_everywhere_is_tried_anew_when_it_is_deployed_anew() -> None:
    cluster = Cluster(worker("a"))
    cluster.broken = {("a", "m")}
    cluster.deploy(deployment("m"))
    for _ in range(12):
        cluster.decide()
        for site in cluster.pending():
            cluster.step(site)
    assert cluster.failures.until_s
    assert cluster.placed() == {"m@1": ["a"]}
    cluster.undeploy("m")
    cluster.settle()
    cluster.deploy(deployment("m"))
    cluster.decide()
    assert cluster.placed() == {"m@1": ["a"]}


def test_gpus_are_reserved_whole_and_shared_by_those_that_state_none() -> None:
    cluster = Cluster(worker("g", gpus=2), worker("c"))
    cuda = InstanceOptions(device="cuda")
    cluster.deploy(deployment("a", gpu=1), deployment("b", gpu=1), deployment("s", options=cuda))
    cluster.settle()
    assert cluster.placed() == {"a@1": ["g"], "b@1": ["g"]}
    cluster.undeploy("b")
    cluster.deploy(deployment("t", options=cuda), deployment("cpu", gpu=1, options=InstanceOptions(device="cpu")))
    cluster.settle()
    assert {k: v for k, v in cluster.placed().items() if k != "cpu@1"} == {"a@1": ["g"], "s@1": ["g"], "t@1": ["g"]}
    assert "cpu@1" in cluster.placed()
    cluster.deploy(deployment("d", gpu=1))
    cluster.settle()
    assert "d@1" not in cluster.placed()


def test_options_change_replica_by_replica_while_the_others_answer() -> None:
    cluster = Cluster(*(worker(f"w{n}") for n in range(3)))
    cluster.deploy(deployment("m", 3))
    cluster.settle()
    batched = InstanceOptions(max_batch_size=8)
    cluster.deploy(deployment("m", 3, options=batched))
    for changed in (1, 2, 3):
        (one,) = cluster.decide().written
        assert sum(p.options == batched for p in cluster.placements.values()) == changed
        assert not cluster.decide()  # until that one answers with them
        cluster.step((one.worker, key("m")))
        assert cluster.ready(key("m"), batched) == changed
    assert not cluster.decide()


def test_options_that_do_not_load_stop_at_the_first_replica() -> None:
    cluster = Cluster(worker("a"), worker("b"))
    cluster.deploy(deployment("m", 2))
    cluster.settle()
    cluster.broken = {("a", "m"), ("b", "m")}
    cluster.deploy(deployment("m", 2, options=InstanceOptions(precision="fp16")))
    for _ in range(20):
        cluster.decide()
        for site in cluster.pending():
            if cluster.instances[site].options != cluster.placements[site].options or cluster.failures:
                cluster.step(site)
    assert cluster.ready(key("m"), InstanceOptions()) == 1


def test_what_does_not_answer_anyway_is_changed_at_once() -> None:
    cluster = Cluster(worker("a"), worker("b"))
    cluster.deploy(deployment("m", 2))
    cluster.decide()
    cluster.deploy(deployment("m", 2, options=InstanceOptions(threads=1)))
    assert len(cluster.decide().written) == 2


def test_a_new_version_ends_the_old_one_when_all_of_it_answers() -> None:
    cluster = Cluster(worker("a"), worker("b"))
    cluster.deploy(deployment("m", 2))
    cluster.settle()
    cluster.deploy(deployment("m", 2, version="2", replaces=("1",)))
    cluster.decide()
    for name in ("a", "b"):
        cluster.step((name, key("m", "2")))
        cluster.step((name, key("m", "2")))
        assert key("m") in cluster.deployments
        cluster.decide()
    assert set(cluster.deployments) == {key("m", "2")}
    assert cluster.deployments[key("m", "2")].replaces == ()
    cluster.deploy(deployment("m"))  # deployed again, it stays
    cluster.settle()
    assert set(cluster.deployments) == {key("m"), key("m", "2")}


def test_an_on_demand_version_that_replaces_others_is_loaded_so_that_they_can_end() -> None:
    cluster = Cluster(worker("a"))
    cluster.deploy(deployment("m"), deployment("m", version="2", on_demand=True, replaces=("1",)))
    cluster.settle()
    assert set(cluster.deployments) == {key("m", "2")}
    assert cluster.placed() == {}


def test_what_needs_more_by_now_displaces_nobody_and_stays_as_it_was_until_there_is_room() -> None:
    cluster = Cluster(worker("a", 8))
    cluster.deploy(deployment("first", gib=4), deployment("second", gib=4))
    cluster.settle()
    cluster.deploy(deployment("first", gib=6))
    assert cluster.settle() == []
    assert cluster.ready(key("first")) == cluster.ready(key("second")) == 1
    cluster.undeploy("second")
    cluster.settle()
    (placement,) = cluster.placements.values()
    assert placement.resources.memory_bytes == 6 << 30


def test_so_many_are_placed_at_a_time() -> None:
    cluster = Cluster(*(worker(f"w{n}", 512) for n in range(4)))
    cluster.deploy(*(deployment(f"m{n}") for n in range(MOST_PLACED + 10)))
    assert len(cluster.decide().written) == MOST_PLACED
    assert len(cluster.decide().written) == 10
    assert not cluster.decide()


class Walked(list[Instance]):
    walks = 0

    def __iter__(self) -> Iterator[Instance]:
        self.walks += 1
        return super().__iter__()


def test_instances_are_looked_at_as_often_for_many_replacements_as_for_one() -> None:
    assert walks_for(1) == walks_for(20)


def walks_for(replacing: int) -> int:
    cluster = Cluster(worker("a"))
    cluster.deploy(*(deployment(f"m{n}", version="2", replaces=("1",)) for n in range(replacing)))
    instances = Walked(Instance(f"m{n}", "2", "a", READY) for n in range(replacing))
    decision = decide(replace(cluster.view(), instances=instances))
    assert [d.model for d in decision.complete] == sorted(f"m{n}" for n in range(replacing))
    return instances.walks
